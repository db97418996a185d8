"""What evaluate writes: metrics.json, per_image.csv, samples.png, protocol.json."""

from __future__ import annotations

from pathlib import Path

from pipeline.data.images import Pixels
from pipeline.evaluation.metrics import PROTOCOL, libraries
from pipeline.evaluation.scoring import Scores
from pipeline.grids import Row, save_grid
from pipeline.params import Evaluate
from pipeline.publish import write_csv, write_json


def write_report(
    folder: Path,
    scores: Scores,
    images: dict[str, Pixels],
    params: Evaluate,
    photographs: int,
    size: int,
    color_space: str,
) -> None:
    means = scores.means()
    rounded = {name: {k: round(v, 5) for k, v in metrics.items()} for name, metrics in means.items()}
    write_json(folder / "metrics.json", rounded)
    text = [{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in scores.rows]
    write_csv(folder / "per_image.csv", text, list(scores.rows[0]))
    save_grid(folder / "samples.png", [Row(name, shown) for name, shown in images.items()])
    write_json(folder / "protocol.json", _protocol(params, photographs, size, color_space))


def _protocol(params: Evaluate, photographs: int, size: int, color_space: str) -> dict[str, object]:
    return {
        "photographs": {"count": photographs, "split": "test", "resolution": [size, size]},
        "means": "of the metric over photographs, each photograph weighing the same",
        "color_space": color_space,
        "color": "sRGB (IEC 61966-2-1) to CIE L*a*b*, D65, 2 degree observer; networks compute in float32",
        "metrics": PROTOCOL,
        "colorizers": {
            "gray": "ab = 0",
            "constant": "the median a and b of all training pixels",
            "lightness_table": f"the median a and b of the training pixels in each of {params.lightness_bins} "
            "equal intervals of L",
            "pretrain": "the generator of checkpoints/pretrain: after the content loss alone, or untrained at 0 epochs",
            "finetune": "the generator of checkpoints/finetune: after adversarial training",
        },
        "libraries": libraries(),
    }
