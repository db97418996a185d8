"""Constants of L*a*b*: sRGB (IEC 61966-2-1), D65, 2 degree observer, as skimage.color uses them."""

from typing import Literal

ColorSpaceName = Literal["lab", "rgb"]
"""The color spaces that networks compute in."""

# Linear sRGB -> XYZ.
XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
# The D65 white of ASTM E308.
WHITE = (0.95047, 1.0, 1.08883)
# CIE 15: below this ratio to white the cube root gives way to a line.
EPSILON, SLOPE, OFFSET = 0.008856, 7.787, 16 / 116
# a and b of sRGB colors lie within it: what networks give is a fraction of it.
AB_SCALE = 110.0
