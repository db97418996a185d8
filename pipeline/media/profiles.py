"""The color space that a picture file states, as an ICC profile, and the way from there to sRGB."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from pipeline.errors import ImageError
from pipeline.media.tiff import codecs
from pipeline.types import Samples

Matrix = NDArray[np.float64]
Chromaticities = tuple[float, ...]
"""CIE 1931 x and y of white, red, green and blue."""

# The bytes of an ICC profile's header that name the color space of its pictures.
_COLOR_SPACE = slice(16, 20)
_SPACES = {2: b"GRAY", 3: b"RGB "}
# lcms's cmsFLAGS_NOOPTIMIZE. By its tables instead of the curves, linear gray is off by 10 of 255 levels.
_EXACT = 0x0100
# Of 255 levels, by which two ways to the same color may differ.
_ROUNDING = 2
_D65 = (0.3127, 0.3290)
SRGB_PRIMARIES: Chromaticities = (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
# ITU-T H.273, table 2.
_PRIMARIES: dict[int, Chromaticities] = {
    1: SRGB_PRIMARIES,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    22: (*_D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077),
}
_ADOBE_RGB: Chromaticities = (*_D65, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
# Curves from samples to light, as ICC's parametric types: 0 is x^g; 3 is (a x + b)^g from d on, and c x below.
Curve = tuple[int, tuple[float, ...]]
_SRGB_CURVE: Curve = (3, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
_BT709_CURVE: Curve = (3, (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081))
# ITU-T H.273, table 3; 2 is "unspecified".
_TRANSFERS: dict[int, Curve] = {
    **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE),
    2: _SRGB_CURVE,
    4: (0, (2.2,)),
    5: (0, (2.8,)),
    8: (0, (1.0,)),
    13: _SRGB_CURVE,
}
_HDR = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2
# Bradford's matrix, as in ICC.1:2022, annex E; and the white of profiles.
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = (0.9642, 1.0, 0.8249)
# PNG's gAMA of 1 / 2.2 stands for sRGB's curve, unless its primaries are others (PNG, 3rd edition, 13.13).
_SRGB_GAMMA, _NEARLY = 0.45455, 0.005
_SAME_PRIMARIES = 0.001
_POSSIBLE_GAMMAS = (0.1, 10.0)
_ADOBE_INTEROPERABILITY = "R03"
_INTEROPERABILITY, _INDEX = 0xA005, 1
# In the header of a BMP.
_CS_TYPE, _EMBEDDED, _BMP_5, _PROFILE_PLACE = slice(70, 74), b"DEBM", 124, slice(126, 134)


def of_png(info: Mapping[Any, Any], code_points: bytes, gray: bool) -> bytes | None:
    """Return the ICC profile of what a PNG states; None for sRGB, and where it states nothing.

    Of several statements cICP counts before iCCP, sRGB, and gAMA with cHRM (PNG, 3rd edition, 4.3).

    Args:
        info: Pillow's, of the open file.
        code_points: its chunk cICP, which Pillow does not read; b"" where it has none.

    Raises:
        ImageError: its curve is one for screens brighter than white, or not known.
    """
    if len(code_points) >= 2:
        return _of_codes(code_points[0], code_points[1], gray)
    if info.get("icc_profile") or "srgb" in info:
        return info.get("icc_profile")
    gamma, stated = float(info.get("gamma", 0)), tuple(info.get("chromaticity", ()))
    primaries = stated if len(stated) == len(SRGB_PRIMARIES) and not gray else SRGB_PRIMARIES
    means_srgb = abs(gamma - _SRGB_GAMMA) <= _NEARLY and np.allclose(primaries, SRGB_PRIMARIES, atol=_SAME_PRIMARIES)
    if means_srgb or not _POSSIBLE_GAMMAS[0] <= gamma <= _POSSIBLE_GAMMAS[1]:
        return _profile(primaries, _SRGB_CURVE, gray)
    return _profile(primaries, (0, (1 / gamma,)), gray)


def of_boxes(content: bytes, gray: bool) -> bytes | None:
    """Return the same of AVIF or HEIC: their box colr with code points (ISO/IEC 23000-22, 7.3.6.4).

    Raises:
        ImageError: its curve is one for screens brighter than white, or not known.
    """
    place = content.find(b"colrnclx")
    if place < 0 or len(content) < place + 12:
        return None
    primaries, transfer = struct.unpack(">HH", content[place + 8 : place + 12])
    # Files of AVIF that state BT.709's curve mean what screens show.
    return _of_codes(primaries, 13 if _TRANSFERS.get(transfer) == _BT709_CURVE else transfer, gray)


def of_bmp(content: bytes) -> bytes | None:
    """Return the profile that a BMP of version 5 holds (BITMAPV5HEADER: bV5CSType, bV5ProfileData, bV5ProfileSize)."""
    if content[_CS_TYPE] != _EMBEDDED or int.from_bytes(content[14:18], "little") < _BMP_5:
        return None
    place, size = struct.unpack("<II", content[_PROFILE_PLACE])
    return content[14 + place : 14 + place + size] or None


def of_exif(image: Image.Image) -> bytes | None:
    """Return Adobe RGB's profile where a camera says that a picture without a profile is in it (DCF 2.0)."""
    try:
        index = image.getexif().get_ifd(_INTEROPERABILITY).get(_INDEX)
    except Exception:  # Pillow raises almost anything on tags of odd types
        return None
    named = str(index).strip("\0 ") == _ADOBE_INTEROPERABILITY
    return _profile(_ADOBE_RGB, (0, (563 / 256,)), gray=False) if named else None


def _of_codes(primaries: int, transfer: int, gray: bool) -> bytes | None:
    """Return the profile of code points of ITU-T H.273."""
    if transfer in _HDR:
        name = _HDR[transfer]
        raise ImageError(f"its tone curve is {name}, for screens brighter than white; save it for sRGB")
    if transfer not in _TRANSFERS or primaries not in {_UNSPECIFIED, *_PRIMARIES}:
        raise ImageError(f"its color space is not known (H.273: primaries {primaries}, transfer {transfer})")
    return _profile(_PRIMARIES.get(primaries, SRGB_PRIMARIES), _TRANSFERS[transfer], gray)


@lru_cache(maxsize=100)
def _is_srgb(profile: bytes) -> bool:
    """Whether a profile of RGB moves no color by more than rounding: converting by it would round once more."""
    levels = np.arange(0, 256, 51, dtype=np.uint8)
    colors = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    return int(np.abs(_eight_bit_to_srgb(colors, profile).astype(int) - colors).max()) <= _ROUNDING


def to_srgb(samples: Samples, profile: bytes | None) -> tuple[Samples, str]:
    """Convert samples from the space of an ICC profile to sRGB.

    Args:
        samples: (H, W) gray or (H, W, 3), uint8 or uint16.

    Returns:
        The samples, unchanged where the profile is None or cannot be used; and why it cannot, "" where it can.

    Raises:
        ImageError: 16 bits need packages that are not installed.
    """
    if not profile:
        return samples, ""
    space = _SPACES[samples.ndim]
    if profile[_COLOR_SPACE] != space:
        return samples, f"its color profile (for {profile[_COLOR_SPACE].decode('latin-1').strip() or 'nothing'})"
    convert = _deep_to_srgb if samples.dtype == np.uint16 else _eight_bit_to_srgb
    try:
        if samples.ndim == 3:
            return (samples if _is_srgb(profile) else convert(samples, profile)), ""
        # Of gray, each value once. The three channels of the result differ by rounding alone.
        values = np.arange(np.iinfo(samples.dtype).max + 1, dtype=samples.dtype)
        return convert(values[None], profile)[0, :, 1][samples], ""
    except (ImageCms.PyCMSError, OSError, ValueError, RuntimeError):
        return samples, "its damaged color profile"


def _eight_bit_to_srgb(samples: Samples, profile: bytes) -> Samples:
    image = Image.fromarray(samples)
    # Exact curves take twelve times as long for color, in which the tables are off by half a level at most.
    flags: Any = _EXACT if samples.ndim == 2 else 0
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, "RGB", flags=flags)
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return np.asarray(converted)


def _deep_to_srgb(samples: Samples, profile: bytes) -> Samples:
    imagecodecs, _ = codecs()
    space = _SPACES[samples.ndim].decode().strip().lower()
    converted: Samples = imagecodecs.cms_transform(
        samples, profile, imagecodecs.cms_profile("srgb"), colorspace=space, outcolorspace="rgb", flags=_EXACT
    )
    return converted


def of_inks(image: Image.Image, profile: bytes) -> tuple[Samples, str]:
    """Convert a picture of mode CMYK to (H, W, 3) uint8 sRGB; by Pillow's rule where its profile cannot be used."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return np.asarray(image.convert("RGB")), "its color profile, which is damaged or for other colors,"
    assert converted is not None
    return np.asarray(converted), ""


def _profile(primaries: Chromaticities, curve: Curve, gray: bool) -> bytes | None:
    """Write the ICC profile (ICC.1:2022) of a space with these primaries and this curve; None for sRGB."""
    if curve == _SRGB_CURVE and (gray or np.allclose(primaries, SRGB_PRIMARIES, atol=_SAME_PRIMARIES)):
        return None
    tags = [(b"wtpt", _xyz(_D50))]
    if gray:
        tags += [(b"kTRC", _parametric(curve))]
    else:
        matrix = _to_xyz(primaries)
        if matrix is None:
            return None
        tags += [(name + b"XYZ", _xyz(column)) for name, column in zip((b"r", b"g", b"b"), matrix.T, strict=True)]
        tags += [(name + b"TRC", _parametric(curve)) for name in (b"r", b"g", b"b")]
    return b"".join(_laid_out(_SPACES[2 if gray else 3], tags))


def _laid_out(space: bytes, tags: list[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """Yield the header, the table of the tags, and the tags."""
    place = 128 + 4 + 12 * len(tags)
    table = b""
    for name, data in tags:
        table += name + struct.pack(">II", place, len(data))
        place += len(data)
    # Version 4.4, for screens; no time, no device.
    yield struct.pack(">IIIII", place, 0, 0x04400000, int.from_bytes(b"mntr", "big"), int.from_bytes(space, "big"))
    yield b"XYZ " + b"\0" * 12 + b"acsp" + b"\0" * 28 + b"".join(map(_fixed, _D50)) + b"\0" * 48
    yield struct.pack(">I", len(tags)) + table
    yield from (data for _, data in tags)


def _fixed(number: float) -> bytes:
    return struct.pack(">i", round(number * 65536))


def _xyz(color: Any) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(float(part)) for part in color)


def _parametric(curve: Curve) -> bytes:
    kind, parameters = curve
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + b"".join(map(_fixed, parameters))


def _to_xyz(chromaticities: Chromaticities) -> Matrix | None:
    """Return the matrix from linear RGB to XYZ under D50, by Bradford; None where the primaries make no triangle."""
    points = np.array(chromaticities).reshape(4, 2)
    if not (points[:, 1] > 0).all():
        return None
    x, y = points.T
    colors = np.stack([x / y, np.ones(4), (1 - x - y) / y], 1)
    white, primaries = colors[0], colors[1:].T
    try:
        matrix = primaries * np.linalg.solve(primaries, white)
    except np.linalg.LinAlgError:
        return None
    cones = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    adapted: Matrix = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ matrix
    return adapted
