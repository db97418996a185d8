"""`twotone resume`: list and delete the saved states of interrupted trainings."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.checkpointing.store import read_state
from pipeline.errors import SavedStateError


def list_states(folder: Path, *, clear: bool) -> None:
    """Print a table of the states below .resume/; delete them where asked."""
    console = Console(highlight=False, soft_wrap=True)
    files = sorted(folder.glob("*/*/[0-9]*.state"))
    table = Table("stage", "fingerprint", "after epoch", "and batches", "MiB", box=None, pad_edge=False)
    for path in files:
        try:
            state = read_state(path)
            position = (str(state.epoch), str(state.batches))
        except SavedStateError:
            position = ("damaged", "")
        stage, key = path.parts[-3], path.parent.name
        table.add_row(stage, key[:12], *position, f"{path.stat().st_size / 2**20:.1f}")
    if files:
        console.print(table)
    if clear:
        for path in files:
            path.unlink(missing_ok=True)
    console.print(f"{len(files)} saved states in {folder}{', deleted' if clear and files else ''}", markup=False)
