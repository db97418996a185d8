"""Names of arrays, for annotations."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""(..., H, W, 3) sRGB."""

Samples = NDArray[Any]
"""(H, W) gray or (H, W, 3) sRGB, uint8 or uint16."""

Floats = NDArray[np.float32]

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, pixels."""
