"""`twotone score`: colored photographs of any colorizer against the true ones, under one protocol."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from pipeline.color.arrays import gray_level, lightness
from pipeline.color.tensors import rgb_to_lab
from pipeline.coloring.copies import MARK, is_colored
from pipeline.coloring.hint_files import is_hints
from pipeline.coloring.model_choice import choose_model
from pipeline.errors import ImageError, InputError
from pipeline.evaluation.baselines import baselines
from pipeline.evaluation.classifier import Classifier
from pipeline.evaluation.metrics import ALL
from pipeline.evaluation.published_metrics import Fid, Lpips
from pipeline.evaluation.report import compared, definitions, how, networks, rounded, write_scores
from pipeline.evaluation.scoring import Judges, Scores, score_all
from pipeline.experiments.compare import about
from pipeline.files import fresh_folder, replacing, require_writable, write_json
from pipeline.inference import Colorizer
from pipeline.media.decoding import SUFFIXES
from pipeline.media.pictures import read_picture
from pipeline.media.writing import eight_bits, over_white
from pipeline.params.schema import FEWEST_FOR_FID, NOTHING
from pipeline.progress import progress
from pipeline.quality.color_statistics import ColorPrior
from pipeline.quality.grids import Row, save_grid
from pipeline.quality.predictor import Predictor
from pipeline.sampling.photographs import decode
from pipeline.tables import print_table
from pipeline.types import Pixels

MAX_PIXELS = 10**8
BASELINES = ("gray", "constant", "lightness_table")
PROTOCOL, _MADE_BY = "protocol.json", "twotone score"
_RESULTS = (PROTOCOL, "comparisons.json", "extremes.png", "intervals.json", "metrics.json", "per_image.csv")
# What desktops put into a folder that somebody looks into; a Mac, ._NAME, too.
_OF_DESKTOPS = (".DS_Store", "Thumbs.db", "desktop.ini")
# Rows of the lightness table, as in recipes/quickstart.yaml.
BINS = 101
# The baselines of each part of the photographs are made of all other parts.
PARTS = 20
# How far the proportions of a colored copy may be from the true photograph's.
_PROPORTIONS = 0.01
# AlexNet makes nothing of a smaller picture.
_LPIPS_LEAST = 32
_SHOWN = (
    *("ab_mae", "psnr_rgb", "ssim", "ciede2000", "colorfulness", "auc_rebalanced", "top1", "fd_lite0"),
    *("lpips", "fid"),
)
# Photographs in each row of the pictures, and their side.
_EXTREMES, _SIDE = 8, 128


@dataclass(frozen=True)
class ScoreRequest:
    """What is to be scored."""

    true: Path
    """The folder of the true photographs."""
    colored: tuple[Path, ...]
    """Folders of colored copies."""
    models: tuple[Path, ...]
    """Models that color the photographs now."""
    out: Path
    size: int = 256
    """Short side at most at which all is compared, pixels."""
    classifier: bool = True
    """Whether an ImageNet classifier says what it sees."""
    lpips_weights: str = NOTHING
    """As evaluate.lpips_weights."""
    fid_weights: str = NOTHING
    """As evaluate.fid_weights."""


@dataclass(frozen=True)
class Matched:
    """Photographs that all colorizers have colored, at the size of the comparison."""

    true: dict[str, Pixels]
    """(H, W, 3) uint8 by name."""
    colored: dict[str, dict[str, Pixels]]
    """By colorizer and name, each as large as the true one."""
    left_out: dict[str, str]
    """Why a photograph is not compared, by name."""


class InMemory:
    """Photographs of any sizes, as batches of one: the part of `Photographs` that scoring uses."""

    def __init__(self, pixels: Sequence[Pixels]):
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def gather(self, indices: Sequence[int]) -> Pixels:
        return np.stack([self._pixels[index] for index in indices])


def score(request: ScoreRequest) -> None:
    """Measure, print two tables, and write the folder of results.

    Raises:
        InputError: a folder is missing or holds too little to compare, or the place of the results is something else.
        ModelError: a model cannot be loaded.
    """
    _require_place(request.out)
    judges = _judges(request)
    names = _names([*request.colored, *request.models])
    folders = dict(zip(names, request.colored, strict=False))
    models = dict(zip(names[len(folders) :], map(_loaded, request.models), strict=True))
    matched = match(request.true, folders, models, request.size, _LPIPS_LEAST if judges.lpips else 1)
    for name, why in matched.left_out.items():
        tqdm.write(f"left out: {name}: {why}")
    if len(matched.true) < 2:
        raise InputError(
            f"{request.true}: {len(matched.true)} photographs can be compared, and 2 are the least; a colored copy has "
            f"the path of its photograph below its folder, with any ending, or with {MARK} after the name"
        )
    predictors = {name: list(own.values()) for name, own in matched.colored.items()}
    if judges.fid and len(matched.true) < FEWEST_FOR_FID:
        raise InputError(
            f"--fid-weights: {len(matched.true)} photographs can be compared, and FID needs {FEWEST_FOR_FID:,}"
        )
    scores = measure(matched.true, predictors, judges)
    pairs = _comparisons(scores, names)
    with replacing(request.out) as hidden:
        write_scores(fresh_folder(hidden), scores)
        write_json(hidden / "comparisons.json", rounded(pairs))
        save_grid(hidden / "extremes.png", _extremes(scores, matched))
        write_json(hidden / PROTOCOL, _protocol(request, matched, scores, judges))
    _print(scores, pairs)
    print(f"{len(matched.true)} photographs, {len(matched.left_out)} left out; {request.out} has all of it")


def _judges(request: ScoreRequest) -> Judges:
    """Return what measures; the frequencies of colors are those of other photographs each time."""
    return Judges(
        ColorPrior(),
        Classifier("--classifier (--no-classifier leaves it out)") if request.classifier else None,
        Lpips(request.lpips_weights, "--lpips-weights") if request.lpips_weights != NOTHING else None,
        Fid(request.fid_weights, "--fid-weights") if request.fid_weights != NOTHING else None,
    )


def _require_place(out: Path) -> None:
    """Refuse to replace what is no result of this command, and a place that cannot be written."""
    if out.name in ("", ".."):
        raise InputError(f"--out {out}: the folder is written as a whole, in place of another; give it a name")
    is_empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not is_empty and not _is_result(out):
        raise InputError(f"--out {out}: exists, and is no result of `twotone score`; name another folder")
    there = sorted(path.name for path in out.iterdir()) if out.exists() else []
    others = [name for name in there if name not in (*_RESULTS, *_OF_DESKTOPS) and not name.startswith("._")]
    if others:
        more = ", ..." if others[3:] else ""
        raise InputError(
            f"--out {out}: is replaced as a whole, and holds {', '.join(others[:3])}{more} beside an earlier result; "
            "move that elsewhere, or name another folder"
        )
    try:
        require_writable(out.parent)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written: {error.strerror}") from None


def _is_result(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / PROTOCOL).read_text(encoding="utf-8"))["made_by"] == _MADE_BY)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _names(paths: Sequence[Path]) -> list[str]:
    """Call each colorizer by the last part of its path, and those that would share a name by the whole path."""
    if not paths:
        raise InputError("nothing to score; name folders of colored copies with --colored, or models with --model")
    last = [path.resolve().name for path in paths]
    taken = {*BASELINES, "truth", *(name for name in last if last.count(name) > 1)}
    names = [str(path) if name in taken else name for path, name in zip(paths, last, strict=True)]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name} is named twice")
        if name in (*BASELINES, "truth"):
            raise InputError(f"{name} is what a baseline is called; write ./{name}/../{name}, or rename the folder")
    return names


def _loaded(path: Path) -> Colorizer:
    return Colorizer.load(choose_model(path))


def match(
    true: Path, folders: Mapping[str, Path], models: Mapping[str, Colorizer], size: int, least: int = 1
) -> Matched:
    """Read the photographs that all folders have, and let the models color them.

    A true photograph is reduced (bicubic) to a short side of `size` at most. A colored copy is resized (bicubic) to the
    same width and height; its proportions must be the same within 1 %. A model sees the lightness of the reduced one.

    Raises:
        InputError: a folder is missing, or has two photographs of one name.
    """
    originals, copies = _files(true), {by: _files(folder) for by, folder in folders.items()}
    # Copies may lie beside their photographs.
    named = any(folder.samefile(true) for folder in folders.values())
    beside = {f"{name}{MARK}" for name in originals}
    copied = {name for name in beside & originals.keys() if named or is_colored(originals[name])}
    for name in sorted(beside & originals.keys() - copied):
        tqdm.write(f"note: {name} is taken for a photograph, since nothing but its name says that it is a colored copy")
    originals = {name: file for name, file in originals.items() if name not in copied}
    found = Matched({}, {by: {} for by in (*folders, *models)}, {})
    for name, file in progress(originals.items(), desc="read", unit="photo", leave=False):
        try:
            pixels = reduced(decode(file, MAX_PIXELS).pixels, size)
            if min(pixels.shape[:2]) < least:
                raise ImageError(f"a short side of {min(pixels.shape[:2])} pixels, and LPIPS needs {least}")
            colored = {
                by: _read_copy(_copy_of(name, by, files, originals), file, pixels) for by, files in copies.items()
            }
        except ImageError as error:
            found.left_out[name] = str(error)
            continue
        found.true[name] = pixels
        for by, own in (colored | {by: model(as_gray(pixels)) for by, model in models.items()}).items():
            found.colored[by][name] = own
    return found


def _files(folder: Path) -> dict[str, Path]:
    """Return the picture files below a folder by their relative paths without endings, sorted.

    Hidden ones are left out, and those in results of this command.

    Raises:
        InputError: no such folder, or two files of one name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    results = {file.parent for file in folder.rglob(PROTOCOL) if file.parent != folder and _is_result(file.parent)}
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in file.relative_to(folder).parts) or results & set(file.parents):
            continue
        if file.suffix.lower() in SUFFIXES and file.is_file() and not is_hints(file):
            name = file.relative_to(folder).with_suffix("").as_posix()
            if name in found:
                raise InputError(f"{file}: {found[name].name} has the same name, so nobody can say which one is meant")
            found[name] = file
    return found


def _copy_of(name: str, by: str, files: Mapping[str, Path], originals: Mapping[str, Path]) -> Path:
    """Return the copy of a photograph: NAME-color, unless that is another photograph's name, or NAME.

    Raises:
        ImageError: there is none.
    """
    marked = f"{name}{MARK}"
    file = (None if marked in originals else files.get(marked)) or files.get(name)
    if file is None:
        raise ImageError(f"{by} has no copy of it")
    return file


def _read_copy(file: Path, original: Path, true: Pixels) -> Pixels:
    """Read the colored copy of a photograph, as large as the true one.

    Raises:
        ImageError: it cannot be read, or has other proportions.
    """
    if file.samefile(original):
        raise ImageError(f"{file} is the photograph itself, and no copy of it")
    try:
        picture = read_picture(file, MAX_PIXELS)
    except ImageError as error:
        raise ImageError(f"{file}: {error}") from None
    pixels = eight_bits(picture.pixels)
    if picture.alpha is not None:
        pixels = over_white(pixels, eight_bits(picture.alpha))
    (height, width), (own_height, own_width) = true.shape[:2], pixels.shape[:2]
    if abs(own_width * height - own_height * width) > _PROPORTIONS * own_height * width + max(own_height, own_width):
        raise ImageError(f"{file}: {own_width}x{own_height} pixels, other proportions than {width}x{height}")
    image = Image.fromarray(pixels).convert("RGB")
    # As `reduced` does it: a perfect copy has no error.
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def reduced(rgb: Pixels, size: int) -> Pixels:
    """Reduce the short side of (H, W, 3) to at most `size` pixels (bicubic, as for training)."""
    scale = min(1.0, size / min(rgb.shape[:2]))
    wanted = (round(rgb.shape[1] * scale), round(rgb.shape[0] * scale))
    return np.asarray(Image.fromarray(rgb).resize(wanted, Image.Resampling.BICUBIC))


def as_gray(rgb: Pixels) -> Pixels:
    """Return the lightness of a photograph as a film for all colors has it: (H, W, 3) -> (H, W) uint8."""
    return np.asarray((gray_level(lightness(rgb)) * 255).round().astype(np.uint8))


def measure(true: Mapping[str, Pixels], colored: Mapping[str, Sequence[Pixels]], judges: Judges) -> Scores:
    """Score each colorizer, gray and the tables; the tables of each photograph are made of other ones.

    Args:
        true: (H, W, 3) uint8 by name; two at least.
        colored: by colorizer, in the same order, of the same sizes.
        judges: what measures besides the pixels; how frequent colors are is counted here.
    """
    found, names = Scores(), list(true)
    parts = min(PARTS, len(names))
    for part in range(parts):
        own = range(part, len(names), parts)
        others = InMemory([true[name] for number, name in enumerate(names) if number % parts != part])
        predictors, prior = baselines(others, 1, BINS)  # type: ignore[arg-type]
        predictors |= {by: _in_turn([pictures[number] for number in own]) for by, pictures in colored.items()}
        test, test_names = InMemory([true[names[number]] for number in own]), [names[number] for number in own]
        scores = score_all(predictors, test, test_names, replace(judges, prior=prior), batch_size=1)  # type: ignore[arg-type]
        found.rows += scores.rows
        for by, features in scores.features.items():
            found.features.setdefault(by, []).extend(features)
    found.fid = judges.fid.distances() if judges.fid else {}
    place = {name: number for number, name in enumerate(names)}
    found.rows = sorted((row | {"index": place[row["path"]]} for row in found.rows), key=lambda row: row["index"])
    return found


def _in_turn(pictures: Iterable[Pixels]) -> Predictor:
    """Return a predictor that gives finished pictures, one at each call."""
    remaining = iter(pictures)

    def predict(_true: Tensor) -> tuple[Tensor, Tensor]:
        rgb = torch.from_numpy(np.array(next(remaining))).permute(2, 0, 1)[None]
        return rgb_to_lab(rgb)[:, 1:], rgb

    return predict


def _comparisons(scores: Scores, names: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """Compare each two colorizers, and each with the lightness table, photograph by photograph."""
    pairs = [*combinations(names, 2), *(("lightness_table", name) for name in names)]
    return {f"{after} - {before}": compared(scores, before, after) for before, after in pairs}


def _extremes(scores: Scores, matched: Matched) -> list[Row]:
    """Return rows of the photographs with the largest and the smallest ab_mae, in the mean of the colorizers."""
    rows: dict[str, list[float]] = {}
    for row in scores.rows:
        if row["colorizer"] not in BASELINES:
            rows.setdefault(row["path"], []).append(row["ab_mae"])
    order = sorted(rows, key=lambda name: float(np.mean(rows[name])))
    count = min(_EXTREMES, len(order))
    found = []
    for label, names in (("worst", order[::-1][:count]), ("best", order[:count])):
        for by, pictures in (("truth", matched.true), *matched.colored.items()):
            found.append(Row(f"{label}: {by}", np.stack([_square(pictures[name]) for name in names])))
    return found


def _square(pixels: Pixels) -> Pixels:
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), (_SIDE, _SIDE), Image.Resampling.BICUBIC))


def _protocol(request: ScoreRequest, matched: Matched, scores: Scores, judges: Judges) -> dict[str, object]:
    """Say how the numbers were made."""
    asked = [judge is not None for judge in (judges.classifier, judges.lpips, judges.fid)]
    return {
        "made_by": _MADE_BY,
        "photographs": {"count": len(matched.true), "left_out": matched.left_out, "short_side_at_most": request.size},
        "sizes": "a true photograph is reduced to the short side (bicubic), a colored copy resized to its width and "
        "height (bicubic); a model sees the lightness of the reduced photograph",
        **how(*asked[:2]),
        "color": "sRGB (IEC 61966-2-1) to CIE L*a*b*, D65, 2 degree observer, of 8-bit pictures as they are: where a "
        "colorizer changes the lightness, the metrics of sRGB see it",
        "metrics": definitions(*asked),
        **networks(judges),
        "colorizers": {
            "gray": "ab = 0",
            "constant": "the median a and b of the other photographs",
            "lightness_table": f"the median a and b of the other photographs in each of {BINS} equal intervals of L",
            **dict.fromkeys(matched.colored, "a folder of colored copies, or a model"),
        },
        "baselines": f"of each of {min(PARTS, len(matched.true))} parts of the photographs from all other parts",
        "order": scores.colorizers(),
    }


def _interval(ends: tuple[float, float] | None) -> str:
    return f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else ""


def _print(scores: Scores, pairs: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    means, intervals = scores.means(), scores.intervals()
    shown = [name for name in _SHOWN if name in next(iter(means.values()))]
    rows = [
        (by, *(f"{own[name]:.3f}{_interval(intervals[by].get(name))}" for name in shown)) for by, own in means.items()
    ]
    print_table(("colorizer", *shown), rows)
    known = [name for name in ALL if name in shown]
    changes = [
        (pair, *(f"{said[name]['change']:+.3f}, {said[name]['verdict']}" for name in known))
        for pair, said in pairs.items()
    ]
    print_table(("paired by photograph", *known), changes)
    print(about(len(scores.rows) // len(means), max(map(len, pairs.values()))))
