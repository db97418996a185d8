"""Color photographs with a trained model: `from pipeline.inference import Colorizer, Hint`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.inference.colorizer import Colorizer
    from pipeline.inference.hints import Hint, Painted
    from pipeline.inference.reference import hints_like

__all__ = ["Colorizer", "Hint", "Painted", "hints_like"]

_MODULES = {"Colorizer": "colorizer", "Hint": "hints", "Painted": "hints", "hints_like": "reference"}


def __getattr__(name: str) -> Any:
    # On first use: a module that needs the networks alone does not wait for the rest.
    if name in _MODULES:
        return getattr(import_module(f"pipeline.inference.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
