"""manifest.csv: what became of each photograph that was examined, written as it happens."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

COLUMNS = ["path", "sha256", "width", "height", "mean_chroma", "split", "reason"]


class Manifest:
    """A table that is written row by row: a million rows need no memory."""

    def __init__(self, path: Path):
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        self._writer.writeheader()
        self.rows = 0
        self.rejected: Counter[str] = Counter()
        """By kind of reason."""

    def add(self, row: dict[str, Any]) -> None:
        self._writer.writerow(row)
        self.rows += 1
        if row["reason"]:
            self.rejected[row["reason"].split(":")[0].split(" as ")[0]] += 1

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
