"""The starter model: what colors where nobody names a model and none is trained here."""

from __future__ import annotations

from pathlib import Path

# In an installed package, and in a checkout.
_PLACES = (Path(__file__).parents[1] / "starter", Path(__file__).parents[2] / "checkpoints/starter")


def starter_folder() -> Path | None:
    """Where the starter model is; None in a distribution that was built without one."""
    return next((folder for folder in _PLACES if (folder / "model.json").is_file()), None)
