"""The files that evaluate writes: metrics.json, per_image.csv, samples.png, protocol.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.evaluation.metrics import METRICS, libraries
from pipeline.evaluation.scoring import Scores
from pipeline.files import write_csv, write_json
from pipeline.media.grids import Row, save_grid
from pipeline.models.config import ModelConfig
from pipeline.types import Pixels


def write_report(folder: Path, scores: Scores, images: dict[str, Pixels], protocol: dict[str, object]) -> None:
    """images: rows of samples.png by their labels."""
    means = scores.means()
    rounded = {name: {k: round(v, 5) for k, v in metrics.items()} for name, metrics in means.items()}
    write_json(folder / "metrics.json", rounded)
    text = [{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in scores.rows]
    write_csv(folder / "per_image.csv", text, list(scores.rows[0]))
    save_grid(folder / "samples.png", [Row(label, pixels) for label, pixels in images.items()])
    write_json(folder / "protocol.json", protocol)


@dataclass(frozen=True)
class Measured:
    """What was measured on what."""

    split: str
    photographs: int
    kept: list[str]
    """Generators of epochs that were kept: pretrain-epoch-0020."""


def protocol(measured: Measured, lightness_bins: int, model: ModelConfig) -> dict[str, object]:
    """How the numbers were made.

    Args:
        lightness_bins: rows of the lightness table.
        model: the fine-tuned generator.
    """
    size = model.image_size
    return {
        "photographs": {"count": measured.photographs, "split": measured.split, "resolution": [size, size]},
        "means": "of the metric over photographs, each photograph weighing the same",
        "color_space": model.color_space,
        "color": "sRGB (IEC 61966-2-1) to CIE L*a*b*, D65, 2 degree observer; networks compute in float32",
        "metrics": {name: metric.definition for name, metric in METRICS.items()},
        "colorizers": {
            "gray": "ab = 0",
            "constant": "the median a and b of all training pixels",
            "lightness_table": f"the median a and b of the training pixels in each of {lightness_bins} "
            "equal intervals of L",
            "pretrain": "the generator of checkpoints/pretrain: after the content loss alone, or untrained at 0 epochs",
            "finetune": "the generator of checkpoints/finetune: after adversarial training",
            **{name: f"the generator of checkpoints/{name.replace('-', '/', 1)}" for name in measured.kept},
        },
        "libraries": libraries(),
    }
