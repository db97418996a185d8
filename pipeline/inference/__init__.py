"""From checkpoint to picture: `from pipeline.inference import Colorizer`."""

from pipeline.inference.colorizer import Colorizer

__all__ = ["Colorizer"]
