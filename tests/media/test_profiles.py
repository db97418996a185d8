"""Whatever a file says of its tone curve and colors is followed. Oracles: arithmetic, and Chromium."""

from __future__ import annotations

import base64
import io
import itertools
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageChops, ImageCms

from pipeline.errors import ImageError
from pipeline.media import profiles
from pipeline.media.pictures import decode_picture
from pipeline.sampling.photographs import decode
from tests.helpers import Array

LIMIT = 10**6
GRAY = np.add.outer(np.linspace(0, 60, 48), np.linspace(20, 190, 64)) / 255
COLOR = np.stack([GRAY, GRAY[::-1] * 0.8 + 0.1, 1 - GRAY], -1)
ADOBE_RGB = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
PNG_GRAY, PNG_COLOR, PNG_PALETTE, PNG_GRAY_ALPHA, PNG_COLOR_ALPHA = 0, 2, 3, 4, 6


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(samples: Array, bits: int, kind: int, *chunks: bytes) -> bytes:
    """(H, W) or (H, W, C) integers."""
    rows = []
    for row in samples:
        if bits >= 8:
            rows.append(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes())
        else:
            each = np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :]
            rows.append(b"\0" + np.packbits(each).tobytes())
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, kind, 0, 0, 0)
    parts = (chunk(b"IHDR", head), *chunks, chunk(b"IDAT", zlib.compress(b"".join(rows))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def integers(shares: Array, bits: int) -> Array:
    return np.round(shares * (2**bits - 1)).astype(np.uint16 if bits > 8 else np.uint8)


def gamma(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def primaries(chromaticities: tuple[float, ...]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(number * 100_000) for number in chromaticities)))


def light(srgb: Array) -> Array:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def srgb_of(linear: Array) -> Array:
    linear = linear.clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def to_xyz(chromaticities: tuple[float, ...]) -> Array:
    """The matrix of Lindbloom's derivation."""
    (white, *colors) = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in np.reshape(chromaticities, (4, 2))]
    matrix = np.stack(colors, 1)
    return matrix @ np.diag(np.linalg.inv(matrix) @ white)


def shares(content: bytes) -> Array:
    pixels = decode_picture(content, LIMIT).pixels
    return pixels / np.iinfo(pixels.dtype).max


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("value", [1.0, 0.55556, 0.45455, 0.38])
@pytest.mark.parametrize("kind", [PNG_GRAY, PNG_COLOR])
def test_gamma(bits: int, value: float, kind: int) -> None:
    """D of the cases: L* was off by up to 31."""
    true = COLOR if kind == PNG_COLOR else GRAY
    # 1 / 2.2 stands for sRGB's own curve.
    samples = integers(true if value == 0.45455 else light(true) ** value, bits)
    error = np.abs(shares(png(samples, bits, kind, gamma(value))) - true)
    # A dark level of linear light is many of sRGB.
    assert error[true > 0.3].max() < 0.006
    assert error.max() < (0.06 if bits == 8 else 0.001)
    assert decode_picture(png(samples, bits, kind, gamma(value)), LIMIT).pixels.ndim == true.ndim


@pytest.mark.parametrize("bits", [8, 16])
def test_primaries(bits: int) -> None:
    """An Adobe RGB that only cHRM and gAMA name."""
    inverse = np.linalg.inv(to_xyz(ADOBE_RGB)) @ to_xyz(profiles.SRGB_PRIMARIES)
    linear = light(COLOR) @ inverse.T
    content = png(integers(linear.clip(0, 1) ** (1 / 2.2), bits), bits, PNG_COLOR, gamma(1 / 2.19921875 * 1.0002),
                  primaries(ADOBE_RGB))  # fmt: skip
    assert np.abs(shares(content) - COLOR).max() < (0.02 if bits == 8 else 0.003)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("code_points", "curve"), [
    ((1, 8), lambda linear: linear),
    ((1, 13), srgb_of),
    ((1, 4), lambda linear: linear ** (1 / 2.2)),
    ((2, 2), srgb_of),
    ((9, 8), None),
    ((12, 8), None),
])  # fmt: skip
def test_code_points(bits: int, code_points: tuple[int, int], curve: object) -> None:
    linear = light(COLOR)
    if curve is None:
        wide = {9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
                12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)}[code_points[0]]  # fmt: skip
        linear = (linear @ (np.linalg.inv(to_xyz(wide)) @ to_xyz(profiles.SRGB_PRIMARIES)).T).clip(0, 1)
    stored = curve(linear) if callable(curve) else linear
    cicp = chunk(b"cICP", bytes([*code_points, 0, 1]))
    error = np.abs(shares(png(integers(stored, bits), bits, PNG_COLOR, cicp)) - COLOR)
    assert error[COLOR > 0.3].max() < 0.01
    assert error.max() < (0.06 if bits == 8 else 0.002)


@pytest.mark.parametrize(("code_points", "reason"), [
    ((9, 16), "its tone curve is PQ, for screens brighter than white; save it for sRGB"),
    ((9, 18), "its tone curve is HLG"),
    ((1, 99), r"its color space is not known \(H.273: primaries 1, transfer 99\)"),
])  # fmt: skip
def test_curves_that_are_not_followed_are_refused(code_points: tuple[int, int], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_picture(png(integers(COLOR, 8), 8, PNG_COLOR, chunk(b"cICP", bytes([*code_points, 0, 1]))), LIMIT)


def test_what_a_png_says_first_counts() -> None:
    """cICP before iCCP, that and sRGB before gAMA; and where it says nothing, sRGB."""
    samples = integers(GRAY, 8)
    linear = chunk(b"iCCP", b"x\0\0" + zlib.compress(profiles._profile(profiles.SRGB_PRIMARIES, (0, (1.0,)), True)))
    srgb, cicp = chunk(b"sRGB", b"\0"), chunk(b"cICP", bytes([1, 13, 0, 1]))
    for chunks, same in (
        ((), True), ((srgb,), True), ((srgb, gamma(1.0)), True), ((linear,), False), ((linear, gamma(0.45455)), False),
        ((cicp, linear, gamma(1.0)), True), ((gamma(0.0),), True), ((gamma(99.0),), True),
    ):  # fmt: skip
        assert np.array_equal(decode_picture(png(samples, 8, PNG_GRAY, *chunks), LIMIT).pixels, samples) == same


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("exponent", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("gray", [True, False])
def test_icc_profiles(kind: str, bits: int, exponent: float, gray: bool) -> None:
    """Linear ones, too, which lcms's tables get wrong by 10 of 255 levels where they are gray."""
    true = GRAY if gray else COLOR
    name = "gray" if gray else "srgb"
    made = profiles._profile(profiles.SRGB_PRIMARIES, (0, (exponent,)), gray)
    assert made
    # That it is a profile, lcms says in another package.
    through = imagecodecs.cms_transform(integers(true, 16), made, imagecodecs.cms_profile("srgb"),
                                        colorspace=name.replace("srgb", "rgb"), outcolorspace="rgb")  # fmt: skip
    assert through.shape == (48, 64, 3)
    samples = integers(light(true) ** (1 / exponent), bits)
    if kind == "PNG":
        content = png(samples, bits, PNG_GRAY if gray else PNG_COLOR, chunk(b"iCCP", b"x\0\0" + zlib.compress(made)))
    else:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, samples, photometric="minisblack" if gray else "rgb", iccprofile=made, metadata=None)
        content = buffer.getvalue()
    error = np.abs(shares(content) - true)
    assert error[true > 0.3].max() < 0.006
    assert error.max() < (0.06 if bits == 8 else 0.001)


def test_a_profile_for_other_samples_is_said_and_not_used() -> None:
    samples = integers(GRAY, 8)
    wrong = profiles._profile(ADOBE_RGB, (0, (2.2,)), gray=False)
    assert wrong
    for profile, reason in ((wrong, "its color profile (for RGB)"), (b"x" * 200, "its color profile (for xxxx)")):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, samples, photometric="minisblack", iccprofile=profile, metadata=None)
        picture = decode_picture(buffer.getvalue(), LIMIT)
        assert np.array_equal(picture.pixels, samples)
        assert picture.notes == (f"{reason} was not used",)


def test_the_lightness_of_srgb_is_not_rounded_again(tmp_path: Path) -> None:
    """A profile that moves nothing changes nothing."""
    colors, path = integers(COLOR, 8), tmp_path / "in.png"
    Image.fromarray(colors).save(path, icc_profile=imagecodecs.cms_profile("srgb"))
    assert np.array_equal(decode_picture(path.read_bytes(), LIMIT).pixels, colors)


def test_adobe_rgb_by_the_word_of_a_camera(tmp_path: Path) -> None:
    """EXIF's interoperability index R03, without a profile (DCF 2.0)."""
    inverse = np.linalg.inv(to_xyz(ADOBE_RGB)) @ to_xyz(profiles.SRGB_PRIMARIES)
    stored = integers((light(COLOR) @ inverse.T).clip(0, 1) ** (256 / 563), 8)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    Image.fromarray(stored).save(tmp_path / "in.jpg", quality=100, subsampling=0, exif=exif)
    for pixels in (decode_picture((tmp_path / "in.jpg").read_bytes(), LIMIT).pixels,
                   decode(tmp_path / "in.jpg", LIMIT).pixels):  # fmt: skip
        assert np.abs(pixels / 255 - COLOR).mean() < 0.005


def test_training_sees_the_colors_of_a_wide_profile(tmp_path: Path) -> None:
    """Of a phone's Display P3: without it, all it learns from is paler than it is."""
    p3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
    made = profiles._profile(p3, profiles._SRGB_CURVE, gray=False)
    inverse = np.linalg.inv(to_xyz(p3)) @ to_xyz(profiles.SRGB_PRIMARIES)
    stored = integers(srgb_of(light(COLOR) @ inverse.T), 8)
    Image.fromarray(stored).save(tmp_path / "in.jpg", quality=100, subsampling=0, icc_profile=made)
    assert np.abs(decode(tmp_path / "in.jpg", LIMIT).pixels / 255 - COLOR).mean() < 0.004


def test_training_and_scores_see_the_colors_of_a_gray_profile(tmp_path: Path) -> None:
    made = profiles._profile(profiles.SRGB_PRIMARIES, (0, (1.0,)), gray=True)
    Image.fromarray(integers(light(GRAY), 8)).save(tmp_path / "in.jpg", quality=100, icc_profile=made)
    found = decode(tmp_path / "in.jpg", LIMIT).pixels / 255
    assert np.abs(found - GRAY[..., None]).mean() < 0.01


def test_training_and_scores_see_the_colors_of_printing_inks(tmp_path: Path) -> None:
    """By a profile in which each ink darkens as much as it covers, unlike Pillow's rule."""
    gray = Image.fromarray(integers(GRAY, 8))
    nothing = Image.new("L", gray.size)
    inks = Image.merge("CMYK", (nothing, nothing, nothing, ImageChops.invert(gray)))
    inks.save(tmp_path / "in.jpg", quality=100, icc_profile=ink_profile())
    with Image.open(tmp_path / "in.jpg") as opened:
        through = ImageCms.profileToProfile(
            opened, io.BytesIO(ink_profile()), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    assert through is not None
    pixels = decode(tmp_path / "in.jpg", LIMIT).pixels
    assert np.array_equal(pixels, np.asarray(through))
    with Image.open(tmp_path / "in.jpg") as opened:
        assert np.abs(pixels - np.asarray(opened.convert("RGB")).astype(float)).mean() > 5


def ink_profile() -> bytes:
    """Return an ICC profile of CMYK whose table has the corners alone: L* from 95 by the sum of the inks."""
    corners = itertools.product((0, 1), repeat=4)
    lab = [(max(0, 95 - 30 * (c + m + y) - 80 * k), 128, 128) for c, m, y, k in corners]
    table = bytes(part for lightness, a, b in lab for part in (round(lightness * 2.55), a, b))
    identity, matrix = bytes(range(256)), struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    tags = {
        b"A2B0": b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + identity * 4 + table + identity * 3,
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
    }
    bodies = [body + b"\0" * (-len(body) % 4) for body in tags.values()]
    places = itertools.accumulate(map(len, bodies[:-1]), initial=132 + 12 * len(tags))
    listed = b"".join(
        name + struct.pack(">2I", place, len(body)) for name, place, body in zip(tags, places, bodies, strict=True)
    )
    rest = struct.pack(">I", len(tags)) + listed + b"".join(bodies)
    head = struct.pack(">I4xI", 128 + len(rest), 0x02100000) + b"prtrCMYKLab " + b"\0" * 12 + b"acsp" + b"\0" * 28
    return (head + struct.pack(">3i", 63190, 65536, 54061)).ljust(128, b"\0") + rest


def test_code_points_of_avif(tmp_path: Path) -> None:
    Image.fromarray(integers(COLOR, 8)).save(tmp_path / "in.avif", quality=100, subsampling="4:4:4")
    content = (tmp_path / "in.avif").read_bytes()
    place = content.index(b"colrnclx") + 8
    plain = decode_picture(content, LIMIT).pixels
    linear = content[:place] + struct.pack(">HH", 1, 8) + content[place + 4 :]
    assert np.abs(decode_picture(linear, LIMIT).pixels / 255 - srgb_of(plain / 255)).max() < 0.006
    with pytest.raises(ImageError, match="its tone curve is PQ"):
        decode_picture(content[:place] + struct.pack(">HH", 9, 16) + content[place + 4 :], LIMIT)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_gray(bits: int) -> None:
    samples = integers(GRAY, bits)
    key = int(samples[20, 30])
    picture = decode_picture(png(samples, bits, PNG_GRAY, chunk(b"tRNS", struct.pack(">H", key))), LIMIT)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, samples == key)
    assert picture.alpha.max() == np.iinfo(picture.alpha.dtype).max


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_color_and_alpha(bits: int) -> None:
    samples, largest = integers(COLOR, bits), 2**bits - 1
    key = struct.pack(">HHH", *map(int, samples[20, 30]))
    picture = decode_picture(png(samples, bits, PNG_COLOR, chunk(b"tRNS", key)), LIMIT)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha == 0, (samples == samples[20, 30]).all(-1))
    ramp = np.round(np.tile(np.linspace(0, largest, 64), (48, 1))).astype(samples.dtype)
    for kind, colors in ((PNG_GRAY_ALPHA, samples[..., :1]), (PNG_COLOR_ALPHA, samples)):
        picture = decode_picture(png(np.dstack([colors, ramp]), bits, kind), LIMIT)
        assert np.array_equal(picture.pixels, colors.squeeze())
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha, ramp)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_palette(bits: int) -> None:
    count = 2**bits
    palette = np.stack([np.arange(count) * 255 // (count - 1)] * 3, -1).astype(np.uint8)
    palette[:, 0] = palette[::-1, 0]
    samples = integers(GRAY, bits)
    content = png(samples, bits, PNG_PALETTE, chunk(b"PLTE", palette.tobytes()), chunk(b"tRNS", bytes([0, 128])))
    picture = decode_picture(content, LIMIT)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, np.array([0, 128, *[255] * count])[samples])
    assert np.array_equal(picture.pixels[samples > 0], palette[samples][samples > 0])


@pytest.mark.slow
def test_chromium_shows_the_same() -> None:
    """Each statement of a PNG on its own, drawn on a canvas."""
    from playwright.sync_api import sync_playwright

    from tests.page.conftest import CHROMIUM, FLAGS

    if not CHROMIUM:
        pytest.skip("no Chromium is installed")
    colors = integers(COLOR, 8)
    files = {
        "nothing": png(colors, 8, PNG_COLOR),
        "linear": png(colors, 8, PNG_COLOR, gamma(1.0)),
        "macintosh": png(colors, 8, PNG_COLOR, gamma(0.55556)),
        "sRGB first": png(colors, 8, PNG_COLOR, chunk(b"sRGB", b"\0"), gamma(1.0)),
        "Adobe RGB": png(colors, 8, PNG_COLOR, gamma(0.4547), primaries(ADOBE_RGB)),
        "cICP P3": png(colors, 8, PNG_COLOR, chunk(b"cICP", bytes([12, 13, 0, 1]))),
        "cICP linear": png(colors, 8, PNG_COLOR, chunk(b"cICP", bytes([1, 8, 0, 1]))),
    }
    script = """async address => {
        const image = new Image(); image.src = address; await image.decode();
        const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return Array.from(context.getImageData(0, 0, image.width, image.height).data);
    }"""
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS).new_page()
        for name, content in files.items():
            address = "data:image/png;base64," + base64.b64encode(content).decode()
            shown = np.array(page.evaluate(script, address)).reshape(48, 64, 4)[..., :3]
            ours = decode_picture(content, LIMIT).pixels.astype(int)
            assert np.abs(ours - shown).max() <= 3, name
