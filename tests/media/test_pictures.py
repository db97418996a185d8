from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from pipeline.errors import ImageError
from pipeline.media.pictures import Picture, read_picture, samples_of
from pipeline.sampling.photographs import decode
from tests.helpers import write_picture

LIMIT = 100_000


def smooth(rng: np.random.Generator, channels: int = 3) -> np.ndarray:
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((48, 40), Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse)
    return pixels if channels == 3 else pixels[..., 0]


def test_what_belongs_to_a_photograph_is_carried_over(tmp_path: Path, rng: np.random.Generator) -> None:
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = "a street", 6  # description, orientation
    Image.fromarray(smooth(rng, 1)).save(tmp_path / "in.jpg", exif=exif, dpi=(300, 300), quality=95)
    picture = read_picture(tmp_path / "in.jpg", LIMIT)
    assert picture.pixels.shape == (48, 40)  # upright
    for name, kind in (("out.jpg", "JPEG"), ("out.png", "PNG"), ("out.tif", "TIFF")):
        write_picture(tmp_path / name, np.dstack([picture.pixels] * 3), picture, kind)
        with Image.open(tmp_path / name) as written:
            assert written.size == (40, 48)
            assert written.getexif().get(0x010E) == "a street"
            assert 0x0112 not in written.getexif()
            assert written.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_transparency_is_kept_or_laid_over_white(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = np.dstack([smooth(rng), np.full((40, 48), 255, np.uint8)])
    pixels[:10, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png", LIMIT)
    assert picture.alpha is not None
    for name, kind in (("out.png", "PNG"), ("out.webp", "WEBP"), ("out.tif", "TIFF")):
        write_picture(tmp_path / name, picture.pixels, picture, kind)
        assert np.array_equal(np.asarray(Image.open(tmp_path / name))[..., 3], pixels[..., 3])
    write_picture(tmp_path / "out.bmp", picture.pixels, picture, "BMP")
    flat = np.asarray(Image.open(tmp_path / "out.bmp"))
    assert (flat[:10] == 255).all()
    assert np.array_equal(flat[10:], pixels[10:, :, :3])


@pytest.mark.parametrize("name", ["gray.png", "gray.tif", "color.png", "color.tif", "alpha.png"])
def test_sixteen_bits_are_read_and_written(tmp_path: Path, name: str, rng: np.random.Generator) -> None:
    shape = {"gray": (40, 48), "color": (40, 48, 3), "alpha": (40, 48, 4)}[name.split(".")[0]]
    samples = rng.integers(0, 65536, shape, dtype=np.uint16)
    if name.endswith("png"):
        (tmp_path / name).write_bytes(imagecodecs.png_encode(samples))
    else:
        tifffile.imwrite(tmp_path / name, samples, photometric="minisblack" if name[0] == "g" else "rgb")
    picture = read_picture(tmp_path / name, LIMIT)
    assert np.array_equal(picture.pixels, samples[..., :3] if samples.ndim == 3 else samples)
    rgb = rng.integers(0, 65536, (40, 48, 3), dtype=np.uint16)
    write_picture(tmp_path / "out.png", rgb, picture, "PNG")
    back = imagecodecs.png_decode((tmp_path / "out.png").read_bytes())
    assert np.array_equal(back[..., :3], rgb)
    if name == "alpha.png":
        assert np.array_equal(back[..., 3], samples[..., 3])
    write_picture(tmp_path / "out.tif", rgb, picture, "TIFF")
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif")[..., :3], rgb)
    write_picture(tmp_path / "out.jpg", rgb, picture, "JPEG")
    assert np.asarray(Image.open(tmp_path / "out.jpg")).dtype == np.uint8


@pytest.mark.parametrize("compression", [None, "adobe_deflate"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_sixteen_bits_in_planes(
    tmp_path: Path, byteorder: str, compression: str | None, rng: np.random.Generator
) -> None:
    samples, path = rng.integers(0, 65536, (40, 60, 3), dtype=np.uint16), tmp_path / "planes.tif"
    layout = {"planarconfig": "separate", "byteorder": byteorder, "compression": compression}
    tifffile.imwrite(path, np.moveaxis(samples, -1, 0), photometric="rgb", **layout)
    assert np.array_equal(read_picture(path, LIMIT).pixels, samples)
    assert np.array_equal(decode(path, LIMIT).pixels, (samples / 257).round())


def test_sixteen_bit_gray_that_says_it_has_planes(tmp_path: Path, rng: np.random.Generator) -> None:
    path, samples = tmp_path / "gray.tif", rng.integers(0, 65536, (40, 60), dtype=np.uint16)
    Image.fromarray(samples).save(path, tiffinfo={0x011C: 2})
    assert np.array_equal(read_picture(path, LIMIT).pixels, samples)


def test_gray_whose_zero_is_white_is_no_negative(tmp_path: Path) -> None:
    bright = np.linspace(0, 65535, 40 * 60).round().astype(np.uint16).reshape(40, 60)
    tifffile.imwrite(tmp_path / "deep.tif", 65535 - bright, photometric="miniswhite")
    tifffile.imwrite(tmp_path / "shallow.tif", (255 - (bright >> 8)).astype(np.uint8), photometric="miniswhite")
    deep, shallow = (read_picture(tmp_path / f"{name}.tif", LIMIT).pixels for name in ("deep", "shallow"))
    assert np.array_equal(deep, bright)
    assert np.array_equal(shallow, bright >> 8)
    one, other = (decode(tmp_path / f"{name}.tif", LIMIT).pixels.astype(int) for name in ("deep", "shallow"))
    assert np.abs(one - other).max() <= 1, "of 65,535 rounded to 255, and the upper 8 of 16 bits"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sixteen_bit_color_is_turned_as_pillow_turns_it(
    tmp_path: Path, orientation: int, rng: np.random.Generator
) -> None:
    samples = rng.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "deep.tif", samples, photometric="rgb", extratags=[(0x0112, 3, 1, orientation, True)])
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray((samples >> 8).astype(np.uint8)).save(tmp_path / "shallow.png", exif=exif)
    deep, shallow = (read_picture(tmp_path / name, LIMIT).pixels for name in ("deep.tif", "shallow.png"))
    assert np.array_equal((deep >> 8).astype(np.uint8), shallow)


def test_profiles_are_converted_to_srgb(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = smooth(rng)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(tmp_path / "same.png", icc_profile=profile)
    same = read_picture(tmp_path / "same.png", LIMIT).pixels.astype(int)
    assert np.abs(same - pixels).max() <= 1
    Image.fromarray(pixels).save(tmp_path / "broken.png", icc_profile=b"no profile")
    assert np.array_equal(read_picture(tmp_path / "broken.png", LIMIT).pixels, pixels)
    # A profile whose values are L*a*b* is not that of an RGB picture: as if there were none.
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.fromarray(pixels).save(tmp_path / "lab.png", icc_profile=lab)
    assert np.array_equal(read_picture(tmp_path / "lab.png", LIMIT).pixels, pixels)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_profiles_of_sixteen_bits(tmp_path: Path, ending: str, rng: np.random.Generator) -> None:
    """Against what Pillow's LittleCMS makes of the high bytes."""
    eight = smooth(rng)
    profile = imagecodecs.cms_profile("adobergb")
    Image.fromarray(eight).save(tmp_path / "eight.png", icc_profile=profile)
    path, deep = tmp_path / f"deep.{ending}", eight.astype(np.uint16) * 257
    if ending == "tif":
        tifffile.imwrite(path, deep, photometric="rgb", iccprofile=profile)
    else:
        plain = imagecodecs.png_encode(deep)
        compressed = b"adobe\0\0" + zlib.compress(profile)
        chunk = struct.pack(">I", len(compressed)) + b"iCCP" + compressed
        path.write_bytes(plain[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + plain[33:])
    expected, found = (read_picture(place, LIMIT).pixels for place in (tmp_path / "eight.png", path))
    assert found.dtype == np.uint16
    difference = np.abs((found / 257) - expected)
    assert difference.mean() < 0.6
    assert np.abs(expected.astype(int) - eight).mean() > 2 * difference.mean()


def test_what_belongs_to_sixteen_bits_is_carried_over(tmp_path: Path, rng: np.random.Generator) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x8298] = "A camera", "Its owner"
    exif.get_ifd(0x8769)[0x9003] = "1936:08:01 12:00:00"
    like = Picture(np.zeros((40, 48, 3), np.uint16), None, exif.tobytes(), (300.0, 300.0), "PNG")
    rgb = rng.integers(0, 65536, (40, 48, 3), dtype=np.uint16)
    for name, kind in (("out.png", "PNG"), ("out.tif", "TIFF")):
        write_picture(tmp_path / name, rgb, like, kind)
        with Image.open(tmp_path / name) as image:
            image.load()
            found = image.getexif()
            assert (found[0x010F], found[0x8298]) == ("A camera", "Its owner")
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        assert np.array_equal(read_picture(tmp_path / name, LIMIT).pixels, rgb)
    with Image.open(tmp_path / "out.png") as image:
        assert image.getexif().get_ifd(0x8769)[0x9003] == "1936:08:01 12:00:00"


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "CMYK", "RGB"])
def test_a_tiff_stays_a_tiff_that_others_read(tmp_path: Path, mode: str, rng: np.random.Generator) -> None:
    """Its tags say how its own samples lie, which are no longer those of the result."""
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    image = Image.fromarray(smooth(rng)).convert(mode)
    image.save(
        tmp_path / "in.tif", exif=exif, icc_profile=imagecodecs.cms_profile("adobergb") if mode == "RGB" else None
    )
    picture = read_picture(tmp_path / "in.tif", LIMIT)
    rgb = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
    write_picture(tmp_path / "out.tif", rgb, picture, "TIFF")
    with Image.open(tmp_path / "out.tif") as written:
        assert np.array_equal(np.asarray(written.convert("RGB")), rgb)
        assert written.getexif()[0x010F] == "A camera"
        assert "icc_profile" not in written.info
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif")[..., :3], rgb)


def test_what_a_format_does_not_hold_is_a_reason(tmp_path: Path) -> None:
    like = Picture(np.zeros((16, 20_000), np.uint8), None, b"", None, "PNG")
    with pytest.raises(ImageError, match="cannot be written as WEBP"):
        write_picture(tmp_path / "out.webp", np.zeros((16, 20_000, 3), np.uint8), like, "WEBP")
    assert not list(tmp_path.iterdir())


def odd_exif() -> bytes:
    """With a date, a maker's note and a place, in directories of their own."""
    exif = Image.Exif()
    exif[0x010E] = "a street"
    exif.get_ifd(0x8769).update({0x9003: "1936:08:01 12:00:00", 0x927C: b"maker\0\1\2"})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.0)})
    return exif.tobytes()


@pytest.mark.parametrize("name", ["lab.tif", "lab-deflate.tif", "deflate.tif", "exif.tif"])
def test_odd_tiffs_keep_their_colors_and_their_tags(tmp_path: Path, name: str, rng: np.random.Generator) -> None:
    image = Image.fromarray(smooth(rng))
    if name.startswith("lab"):
        to_lab = [ImageCms.createProfile(space) for space in ("sRGB", "LAB")]
        source = ImageCms.profileToProfile(image, *to_lab, outputMode="LAB")
        assert source is not None
        source.save(tmp_path / name, compression="tiff_adobe_deflate" if "deflate" in name else "raw")
    elif name == "deflate.tif":
        options = {"description": "a street", "metadata": None, "resolution": (300, 300), "resolutionunit": "INCH"}
        tifffile.imwrite(tmp_path / name, np.asarray(image), photometric="rgb", compression="adobe_deflate", **options)
    else:
        image.save(tmp_path / name, exif=odd_exif())
    picture = read_picture(tmp_path / name, LIMIT)
    assert np.abs(picture.pixels.astype(int) - np.asarray(image)).mean() < 3
    for ending, kind in (("tif", "TIFF"), ("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP"), ("bmp", "BMP")):
        left_out = write_picture(tmp_path / f"out.{ending}", picture.pixels, picture, kind)
        expected = {"BMP": "its EXIF" if picture.exif else "", "WEBP": "its resolution" if picture.dpi else ""}
        assert left_out == expected.get(kind, "")
        with Image.open(tmp_path / f"out.{ending}") as written:
            assert written.getexif().get(0x010E) == (None if "lab" in name or kind == "BMP" else "a street")
            if name == "exif.tif" and kind != "BMP":
                assert written.getexif().get_ifd(0x8769)[0x9003] == "1936:08:01 12:00:00"
                assert written.getexif().get_ifd(0x8825)[2] == (48.0, 12.0, 30.0)


def test_what_a_file_cannot_take_over_is_left_out_and_named(tmp_path: Path, rng: np.random.Generator) -> None:
    rgb = smooth(rng)
    long = Image.Exif()
    long[0x010E] = "x" * 70_000  # more than a JPEG holds
    picture = Picture(rgb, None, long.tobytes(), (300.0, 300.0), "TIFF")
    assert write_picture(tmp_path / "out.jpg", rgb, picture, "JPEG") == "its EXIF"
    assert write_picture(tmp_path / "out.png", rgb, picture, "PNG") == ""
    deep = rgb.astype(np.uint16) * 257
    picture = Picture(deep, None, odd_exif(), (300.0, 300.0), "TIFF")
    assert write_picture(tmp_path / "deep.tif", deep, picture, "TIFF") == "its EXIF, but for the texts"
    assert write_picture(tmp_path / "deep.png", deep, picture, "PNG") == ""
    picture = Picture(rgb, None, b"no EXIF at all", None, "JPEG")
    for ending, kind in (("jpg", "JPEG"), ("tif", "TIFF"), ("png", "PNG")):
        write_picture(tmp_path / f"odd.{ending}", rgb, picture, kind)
        assert Image.open(tmp_path / f"odd.{ending}").size == (48, 40)


def test_rare_tiffs_are_refused_in_words(tmp_path: Path, rng: np.random.Generator) -> None:
    tifffile.imwrite(tmp_path / "gray.tif", smooth(rng, 1).astype(np.float32) / 255)
    with pytest.raises(ImageError, match="its samples are floating-point numbers, whose scale is not known"):
        read_picture(tmp_path / "gray.tif", LIMIT)
    tifffile.imwrite(tmp_path / "color.tif", smooth(rng).astype(np.float32) / 255, photometric="rgb")
    with pytest.raises(ImageError, match="its samples are floating-point numbers, whose scale is not known"):
        read_picture(tmp_path / "color.tif", LIMIT)


def test_bounds_hold_before_decoding(tmp_path: Path, rng: np.random.Generator) -> None:
    Image.fromarray(smooth(rng)).save(tmp_path / "in.png")
    with pytest.raises(ImageError, match="too many pixels: 48x40 is over 100"):
        read_picture(tmp_path / "in.png", 100)
    whole = (tmp_path / "in.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="unreadable"):
        read_picture(tmp_path / "cut.png", LIMIT)
    deep = imagecodecs.png_encode(rng.integers(0, 65536, (40, 48, 3), dtype=np.uint16))
    (tmp_path / "deep.png").write_bytes(deep[: len(deep) // 2])
    with pytest.raises(ImageError, match="unreadable"):
        read_picture(tmp_path / "deep.png", LIMIT)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    picture = Picture(np.zeros((20, 20, 3), np.uint8), None, b"", None, "PNG")
    (tmp_path / "out.png").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_picture(tmp_path / "out.png", picture.pixels, picture, "PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_exif_keeps_its_kinds_and_is_true_of_a_turned_picture(tmp_path: Path, rng: np.random.Generator) -> None:
    """A comment of any other type than 7, UNDEFINED, is numbers to most readers."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A], exif[0x011B] = 6, 300.0, 150.0
    photograph = exif.get_ifd(0x8769)
    photograph.update({0x9286: b"ASCII\0\0\0a street", 0xA301: b"\1", 0x9214: (5, 6), 0xA002: 48, 0xA003: 40})
    photograph[0xA005] = {1: "R98"}
    Image.fromarray(smooth(rng)).save(tmp_path / "in.jpg", exif=exif)
    picture = read_picture(tmp_path / "in.jpg", LIMIT)
    for name, kind in (("out.jpg", "JPEG"), ("out.tif", "TIFF")):
        write_picture(tmp_path / name, picture.pixels, picture, kind)
        with Image.open(tmp_path / name) as written:
            tags = written.getexif()
            found = tags.get_ifd(0x8769)
            assert found[0x9286] == b"ASCII\0\0\0a street"
            assert (found[0xA002], found[0xA003]) == (40, 48)
            assert 0x9214 not in found
            assert kind == "TIFF" or (tags[0x011A], tags[0x011B]) == (150, 300)
            assert kind == "JPEG" or 0xA005 not in found
    with Image.open(tmp_path / "out.jpg") as written:
        tiff = written.info["exif"][6:]
    order = "little" if tiff.startswith(b"II") else "big"
    _, place = entries(tiff, int.from_bytes(tiff[4:8], order))[0x8769]
    kinds = entries(tiff, int.from_bytes(place, order))
    assert kinds[0x9286][0] == kinds[0xA301][0] == 7


def entries(tiff: bytes, place: int) -> dict[int, tuple[int, bytes]]:
    """The type and the value of each tag of a directory (TIFF 6.0, section 2)."""
    order = "<" if tiff.startswith(b"II") else ">"
    (count,) = struct.unpack_from(f"{order}H", tiff, place)
    found = (struct.unpack_from(f"{order}HHI4s", tiff, place + 2 + 12 * number) for number in range(count))
    return {tag: (kind, value) for tag, kind, _, value in found}


def test_webp_keeps_what_is_under_transparency(tmp_path: Path, rng: np.random.Generator) -> None:
    rgba = np.dstack([smooth(rng), np.zeros((40, 48), np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "in.png")
    picture = read_picture(tmp_path / "in.png", LIMIT)
    assert write_picture(tmp_path / "out.webp", picture.pixels, picture, "WEBP") == ""
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.webp")), rgba)


def test_integers_of_no_known_scale_are_refused(rng: np.random.Generator) -> None:
    gray = Image.fromarray(smooth(rng, 1))
    with pytest.raises(ImageError, match="integers of 32 bits, whose scale is not known"):
        samples_of(gray.convert("I"))
    samples, _ = samples_of(gray.convert("I;16"))
    assert samples.dtype == np.uint16


def test_a_resolution_that_a_photograph_does_not_state_is_not_made_up(tmp_path: Path, rng: np.random.Generator) -> None:
    """Pillow gives 72 dots per inch to a JPEG with EXIF and without a unit."""
    exif = Image.Exif()
    exif[0x010E] = "a street"
    Image.fromarray(smooth(rng)).save(tmp_path / "in.jpg", exif=exif)
    assert read_picture(tmp_path / "in.jpg", LIMIT).dpi is None
    Image.fromarray(smooth(rng)).save(tmp_path / "in.jpg", exif=exif, dpi=(300, 300))
    assert read_picture(tmp_path / "in.jpg", LIMIT).dpi == (300, 300)
