"""What a PNG says of itself before its pixels; and its transparent gray, which Pillow does not read."""

from __future__ import annotations

import numpy as np

from pipeline.types import Samples

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunks(content: bytes) -> dict[bytes, bytes]:
    """Return the chunks before the pixels by type, the first of each; none where this is no PNG."""
    found: dict[bytes, bytes] = {}
    place = len(_SIGNATURE)
    while content.startswith(_SIGNATURE) and place + 8 <= len(content):
        length, kind = int.from_bytes(content[place : place + 4], "big"), content[place + 4 : place + 8]
        if kind == b"IDAT":
            break
        found.setdefault(kind, content[place + 8 : place + 8 + length])
        place += 12 + length
    return found


def transparent_gray(chunks: dict[bytes, bytes], samples: Samples) -> Samples | None:
    """Return the alpha of gray of 2, 4 or 16 bits in which one value is transparent (tRNS); None for all else.

    Args:
        samples: (H, W), scaled to the whole range of their type.
    """
    head, key = chunks.get(b"IHDR", b""), chunks.get(b"tRNS", b"")
    if len(head) < 10 or head[9] != 0 or head[8] not in (2, 4, 16) or len(key) != 2:
        return None
    largest = np.iinfo(samples.dtype).max
    value = int.from_bytes(key, "big") & (2 ** head[8] - 1)
    shown: Samples = np.where(samples == value * largest // (2 ** head[8] - 1), 0, largest).astype(samples.dtype)
    return shown
