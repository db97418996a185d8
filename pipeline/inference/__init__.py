"""Color photographs with a trained model: `from pipeline.inference import Colorizer`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.inference.colorizer import Colorizer

__all__ = ["Colorizer"]


def __getattr__(name: str) -> Any:
    # On first use: a module that needs the networks alone does not wait for the rest.
    if name == "Colorizer":
        return import_module("pipeline.inference.colorizer").Colorizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
