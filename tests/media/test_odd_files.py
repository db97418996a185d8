"""Files as cameras, old editors and scanners write them, in which a tag is odd, stale or a surprise."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from pipeline.errors import ImageError
from pipeline.media.pictures import decode_picture, read_picture
from pipeline.media.writing import encode_picture
from pipeline.sampling.photographs import decode
from tests.helpers import smooth_photos

LIMIT = 10**6
# NewSubfileType, ImageWidth, ImageLength, Compression, StripOffsets, PlanarConfiguration, Predictor, ExtraSamples,
# SampleFormat, YCbCrSubSampling.
LAYOUT = {0xFE: 1, 0x100: 64, 0x101: 48, 0x103: 6, 0x111: 8, 0x11C: 2, 0x13D: 2, 0x152: 2, 0x153: 3, 0x212: (2, 2)}


@pytest.fixture
def photograph(rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(smooth_photos(rng, 1, 64)[0][:48])


@pytest.mark.parametrize("tag", LAYOUT)
@pytest.mark.parametrize("orientation", [1, 6])
def test_tags_of_the_files_layout_do_not_become_a_tiffs(
    tmp_path: Path, photograph: Image.Image, tag: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x112], exif[0x10F], exif[tag] = orientation, "a maker", LAYOUT[tag]
    photograph.save(tmp_path / "in.jpg", exif=exif, quality=95)
    picture = read_picture(tmp_path / "in.jpg", LIMIT)
    for kind in ("TIFF", "JPEG"):
        content, left_out = encode_picture(picture.pixels, picture, kind)
        assert left_out == ""
        with Image.open(io.BytesIO(content)) as copy:
            assert np.abs(np.asarray(copy).astype(int) - picture.pixels).mean() < 2
            assert copy.getexif()[0x10F] == "a maker"
            assert kind == "JPEG" or not np.any(tifffile.imread(io.BytesIO(content)) != np.asarray(copy))


def test_a_tag_of_an_odd_type_costs_the_tags_and_not_the_photograph(tmp_path: Path, photograph: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x11A], exif[0x112] = 300.0, 6
    tags = bytearray(exif.tobytes())
    place = tags.find(b"\x01\x1a\0\x05")
    tags[place + 2 : place + 8] = b"\0\2\0\0\0\x08"  # XResolution as a text
    photograph.save(tmp_path / "in.jpg", exif=bytes(tags))
    picture = read_picture(tmp_path / "in.jpg", LIMIT)
    assert picture.lost == ("its EXIF",)
    assert picture.pixels.shape == (64, 48, 3), "upright all the same"
    assert decode(tmp_path / "in.jpg", LIMIT).pixels.shape == (64, 48, 3)


@pytest.mark.parametrize(
    ("name", "lost"), [("in.tif", "2 further pages"), ("in.webp", "2 further frames"), ("in.png", "2 further frames")]
)
def test_further_pages_and_frames_are_named(tmp_path: Path, photograph: Image.Image, name: str, lost: str) -> None:
    others = [photograph.rotate(90), photograph.rotate(180)]
    photograph.save(tmp_path / name, save_all=True, append_images=others)
    picture = read_picture(tmp_path / name, LIMIT)
    assert picture.lost == (lost,)
    assert np.abs(picture.pixels.astype(int) - np.asarray(photograph)).mean() < 5, "the first one is read"


def test_a_thumbnail_is_no_page_and_pages_are_not_counted_for_long(tmp_path: Path, photograph: Image.Image) -> None:
    with tifffile.TiffWriter(tmp_path / "scan.tif") as scan:
        scan.write(np.asarray(photograph), photometric="rgb")
        scan.write(np.asarray(photograph.resize((32, 24))), photometric="rgb", subfiletype=1)
    assert read_picture(tmp_path / "scan.tif", LIMIT).lost == ()
    small = np.zeros((16, 16), np.uint8)
    tifffile.imwrite(tmp_path / "book.tif", np.repeat(small[None], 200, 0), photometric="minisblack", metadata=None)
    assert read_picture(tmp_path / "book.tif", LIMIT).lost == ("100 or more further pages",)


def test_texts_of_a_png_are_named(tmp_path: Path, photograph: Image.Image) -> None:
    info = PngInfo()
    info.add_text("Software", "a program")
    photograph.save(tmp_path / "program.png", pnginfo=info)
    assert read_picture(tmp_path / "program.png", LIMIT).lost == ()
    info.add_text("Title", "Wedding 1912")
    photograph.save(tmp_path / "title.png", pnginfo=info)
    assert read_picture(tmp_path / "title.png", LIMIT).lost == ("its texts",)


@pytest.mark.parametrize("kind", [np.uint32, np.int32, np.float32])
def test_samples_of_32_bits_are_refused(tmp_path: Path, photograph: Image.Image, kind: type) -> None:
    tifffile.imwrite(tmp_path / "in.tif", np.asarray(photograph.convert("L")).astype(kind))
    for read in (read_picture, decode):
        with pytest.raises(ImageError, match="whose scale is not known; save it with 8 or 16 bits"):
            read(tmp_path / "in.tif", LIMIT)


def test_colors_of_16_bits_that_were_multiplied_by_alpha_are_divided(tmp_path: Path, photograph: Image.Image) -> None:
    samples = np.asarray(photograph).astype(np.uint16) * 257
    stacked = np.dstack([samples // 2, np.full(samples.shape[:2], 32768, np.uint16)])
    tifffile.imwrite(tmp_path / "in.tif", stacked, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(tmp_path / "in.tif", LIMIT)
    assert picture.alpha is not None
    assert np.abs(picture.pixels.astype(int) - samples).max() <= 4


def test_a_tiff_without_a_resolution_is_given_none(tmp_path: Path, photograph: Image.Image) -> None:
    photograph.convert("1").save(tmp_path / "in.tif", compression="group4")
    picture = read_picture(tmp_path / "in.tif", LIMIT)
    assert picture.dpi is None
    photograph.save(tmp_path / "fine.tif", dpi=(300, 300))
    assert read_picture(tmp_path / "fine.tif", LIMIT).dpi == (300, 300)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("deep", [False, True])
def test_texts_that_are_no_ascii_are_kept(tmp_path: Path, photograph: Image.Image, kind: str, deep: bool) -> None:
    """Names in UTF-8, and those that Windows writes in UTF-16, byte for byte."""
    exif = Image.Exif()
    exif[0x13B], exif[0x10E] = "Zoë Müller".encode(), "Straße, 1912".encode()
    exif[0x9C9B] = "Größe\0".encode("utf-16-le")
    exif[0x10D], exif[0x13C] = "box 7", "a scanner"
    exif.get_ifd(0x8769)[0x9291] = "12"
    photograph.save(tmp_path / "in.tif" if deep else tmp_path / "in.jpg", exif=exif)
    picture = read_picture(tmp_path / ("in.tif" if deep else "in.jpg"), LIMIT)
    pixels = picture.pixels.astype(np.uint16) * 257 if deep and kind in ("PNG", "TIFF") else picture.pixels
    content, _ = encode_picture(pixels, picture, kind)
    for text in ("Zoë Müller", "Straße, 1912", "box 7", "a scanner"):
        assert text.encode() + b"\0" in content
    assert "Größe".encode("utf-16-le") in content


@pytest.mark.parametrize("kind", ["jpg", "tif"])
def test_what_is_said_of_the_sides_is_true_of_a_turned_picture(
    tmp_path: Path, photograph: Image.Image, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    exif.get_ifd(0x8769).update({0xA002: 64, 0xA003: 48, 0xA005: {1: "R03"}})
    regions = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:r="http://www.metadataworkinggroup.com/schemas/regions/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="box 7"><r:Regions><rdf:li>a face</rdf:li></r:Regions>'
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    if kind == "tif":
        exif[700] = regions.encode()
        photograph.save(tmp_path / "in.tif", exif=exif, dpi=(300, 200))
    else:
        photograph.save(tmp_path / "in.jpg", exif=exif, dpi=(300, 200), xmp=regions.encode())
    picture = read_picture(tmp_path / f"in.{kind}", LIMIT)
    assert picture.dpi == (200, 300)
    assert picture.lost == ("the regions in its XMP, since it was turned,",)
    assert b"a face" not in picture.xmp
    assert b"box 7" in picture.xmp
    content, _ = encode_picture(picture.pixels, picture, "JPEG")
    with Image.open(io.BytesIO(content)) as copy:
        assert copy.info["dpi"] == (200, 300)
        if kind == "tif":  # of which Pillow writes no further folder of EXIF
            return
        tags = copy.getexif()
        assert (tags.get_ifd(0x8769)[0xA002], tags.get_ifd(0x8769)[0xA003]) == copy.size == (48, 64)
        assert tags.get_ifd(0xA005)[1] == "R98"


def test_a_turned_tiff_whose_end_is_missing_is_turned_once(photograph: Image.Image) -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x112] = 6
    photograph.save(buffer, "TIFF", exif=exif, strip_size=64 * 3 * 8)
    whole = decode_picture(buffer.getvalue(), LIMIT).pixels
    assert whole.shape == (64, 48, 3)
    # Its tags come first, its pixels last.
    cut = decode_picture(buffer.getvalue()[:-2000], LIMIT, damaged=True)
    assert cut.pixels.shape == whole.shape


@pytest.mark.parametrize("kind", ["a byte", "beyond 8"])
def test_a_tiff_with_an_odd_orientation_is_not_turned(tmp_path: Path, photograph: Image.Image, kind: str) -> None:
    code, value = ("s", b"6") if kind == "a byte" else ("H", 9)
    tags = [(274, code, 1 if code == "H" else 0, value, True)]
    tifffile.imwrite(tmp_path / "in.tif", np.asarray(photograph), photometric="rgb", metadata=None, extratags=tags,
                     resolution=(300, 200), resolutionunit="INCH")  # fmt: skip
    picture = read_picture(tmp_path / "in.tif", LIMIT)
    assert np.array_equal(picture.pixels, np.asarray(photograph))
    assert picture.dpi == (300, 200)


def test_a_comment_of_a_gif_is_named(tmp_path: Path, photograph: Image.Image) -> None:
    photograph.save(tmp_path / "in.gif", comment=b"reel 3")
    assert read_picture(tmp_path / "in.gif", LIMIT).lost == ("its comment",)


def test_a_profile_within_a_bmp_is_followed(tmp_path: Path, photograph: Image.Image) -> None:
    """BITMAPV5HEADER with an embedded profile, here one whose red is sRGB's green."""
    photograph.save(tmp_path / "plain.bmp")
    content = (tmp_path / "plain.bmp").read_bytes()
    rows = content[int.from_bytes(content[10:14], "little") :]
    profile = swapped_profile()
    head = bytearray(124)
    head[:40] = content[14:54]
    head[0:4] = (124).to_bytes(4, "little")
    head[56:60] = b"DEBM"
    head[112:120] = (124 + len(rows)).to_bytes(4, "little") + len(profile).to_bytes(4, "little")
    whole = b"BM" + (138 + len(rows) + len(profile)).to_bytes(4, "little") + bytes(4) + (138).to_bytes(4, "little")
    (tmp_path / "in.bmp").write_bytes(whole + bytes(head) + rows + profile)
    plain, followed = (read_picture(tmp_path / f"{name}.bmp", LIMIT) for name in ("plain", "in"))
    assert followed.notes == ()
    assert np.abs(followed.pixels.astype(int) - plain.pixels[..., [1, 0, 2]]).max() <= 3


def swapped_profile() -> bytes:
    """sRGB's profile by littleCMS, the tags of its red and green exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)
