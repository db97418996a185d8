"""The measurement on photographs from elsewhere, and the gallery."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from pipeline.data.shards import Photographs, ShardWriter
from pipeline.errors import InputError
from pipeline.models.config import Training, read_config, write_config
from tests.helpers import ROOT, Array, environment, mean_chroma, save_photo, smooth_photos

sys.path += [str(ROOT), str(ROOT / "scripts")]
import make_gallery

from benchmarks import historic

HISTORIC = ROOT / "docs/historic"


class Copyist:
    """Instead of a Colorizer: gives the true colors of the photographs that it has been told."""

    def __init__(self, photographs: dict[str, Array], gray: str):
        self._known = {historic.GRAYS[gray](rgb).tobytes(): rgb for rgb in photographs.values()}

    def __call__(self, gray: Array, saturation: float) -> Array:
        rgb = self._known[gray.tobytes()]
        return rgb if saturation == 1 else (lab2rgb(rgb2lab(rgb) * [1, saturation, saturation]) * 255).astype(np.uint8)


def without_colors(gray: Array, saturation: float) -> Array:  # noqa: ARG001
    return np.dstack([gray] * 3)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, env=environment(), capture_output=True, encoding="utf-8",
                          timeout=600)  # fmt: skip


@pytest.mark.parametrize("gray", ["lightness", "blue"])
def test_the_true_colors_have_no_error_and_beat_the_table(rng: np.random.Generator, gray: str) -> None:
    photographs = {f"{number}.png": rgb for number, rgb in enumerate(smooth_photos(rng, 12, 40))}
    settings = historic.Settings((gray,))
    measured = historic.measure(photographs, Copyist(photographs, gray), settings)  # type: ignore[arg-type]
    means = measured.scores.means()
    assert list(means) == [f"{gray}, gray", f"{gray}, lightness_table", f"{gray}, model"]
    assert means[f"{gray}, model"]["ab_mae"] < 1e-3
    true = np.mean([np.abs(rgb2lab(rgb)[..., 1:]).mean() for rgb in photographs.values()])
    assert means[f"{gray}, gray"]["ab_mae"] == pytest.approx(true, abs=0.01)
    text = "\n".join(historic.report(measured))
    assert "Means over 12 photographs" in text
    assert "the other measured photographs, for each photograph (leave one out)" in text
    assert f"| {gray} | -" in text.split("paired by photograph")[1]
    assert ", better" in text.split("paired by photograph")[1]


def test_a_model_is_compared_with_another_photograph_by_photograph(rng: np.random.Generator) -> None:
    photographs = {f"{number}.png": rgb for number, rgb in enumerate(smooth_photos(rng, 12, 40))}
    true = Copyist(photographs, "blue")
    for other, verdict in ((true, "no difference"), (without_colors, "better")):
        settings = historic.Settings(("blue",), against=other)  # type: ignore[arg-type]
        measured = historic.measure(photographs, true, settings)  # type: ignore[arg-type]
        last = historic.report(measured)[-1]
        assert last.startswith("| blue | "), last
        assert last.split(" | ")[1].endswith(f", {verdict}")
        gain = np.mean(measured.scores.values("blue, other model")["ab_mae"])
        assert last.split(" | ")[1].startswith(f"{-gain + 0.0:.1f} ("), last


def test_the_saturation_is_that_of_the_model_alone(rng: np.random.Generator) -> None:
    photographs = {f"{number}.png": rgb for number, rgb in enumerate(smooth_photos(rng, 3, 40))}
    true = Copyist(photographs, "blue")
    settings = historic.Settings(("blue",), against=true, saturation=0.5)  # type: ignore[arg-type]
    means = historic.measure(photographs, true, settings).scores.means()  # type: ignore[arg-type]
    assert means["blue, model"]["ab_mae"] == pytest.approx(means["blue, gray"]["ab_mae"] / 2, rel=0.05)
    assert means["blue, other model"]["ab_mae"] < 1e-3


def test_the_table_never_sees_the_photograph_that_it_colors() -> None:
    """Two of one color each: each is colored like the other."""
    colors = np.array([[200, 60, 60], [60, 90, 200]], np.uint8)
    photographs = {str(number): np.full((20, 24, 3), color, np.uint8) for number, color in enumerate(colors)}
    scores = historic.measure(photographs, Copyist(photographs, "blue"), historic.Settings(("blue",))).scores  # type: ignore[arg-type]
    one, other = rgb2lab(colors[None])[0, :, 1:]
    assert scores.values("blue, lightness_table")["ab_mae"] == pytest.approx(np.abs(one - other).mean(), abs=0.3)


def test_the_lightness_stays_in_the_black_and_white_version(rng: np.random.Generator) -> None:
    rgb = smooth_photos(rng, 1, 32)[0]
    gray = historic.GRAYS["lightness"](rgb)
    assert np.abs(rgb2lab(np.dstack([gray] * 3))[..., 0] - rgb2lab(rgb)[..., 0]).max() < 0.3
    assert np.array_equal(historic.GRAYS["blue"](rgb), rgb[..., 2])


def test_an_old_version_is_another_for_each_photograph_and_the_same_each_time(rng: np.random.Generator) -> None:
    one, other = smooth_photos(rng, 2, 64)
    plain, aged = historic.GRAYS["lightness"], historic.GRAYS["old"]
    assert np.array_equal(aged(one), aged(one))
    off = [aged(rgb).astype(float) - plain(rgb) for rgb in (one, other)]
    assert all(np.abs(each).mean() > 2 for each in off)
    assert np.abs(off[0].std() - off[1].std()) > 0.1


def test_a_sample_of_another_training_is_refused(model: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    writer = ShardWriter(tmp_path, "train")
    for rgb in smooth_photos(rng, 3, 32):
        writer.add(rgb)
    writer.close()
    (tmp_path / "sample.json").write_text('{"source": "folder"}', encoding="utf-8")
    described = tmp_path / "model"
    described.mkdir()
    for source, fits in (("bundled", False), ("folder", True)):
        training = Training(source=source, photographs=3, validation_photographs=1, ab_mae=9.0)
        write_config(described, read_config(model).model_copy(update={"training": training}))
        if fits:
            assert len(historic.training_photographs(tmp_path, described)) == 3
        else:
            with pytest.raises(InputError, match=r"3 photographs \(folder\), but .* was trained on 3 \(bundled\)"):
                historic.training_photographs(tmp_path, described)
    photographs = {str(number): rgb for number, rgb in enumerate(smooth_photos(rng, 3, 32))}
    settings = historic.Settings(("blue",), Photographs(tmp_path, "train", 32))
    measured = historic.measure(photographs, Copyist(photographs, "blue"), settings)  # type: ignore[arg-type]
    assert measured.table_from == "the 3 training photographs of the model"


@pytest.mark.slow
def test_the_script_measures_plates_and_folders_the_same_each_time(
    model: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    options = ("--no-classifier", "--size", "64")
    done = [run("benchmarks/historic.py", str(model), *options, "--count", "3") for _ in range(2)]
    assert done[0].returncode == 0, done[0].stderr
    assert done[0].stdout == done[1].stdout
    assert "Means over 3 photographs" in done[0].stdout
    for number in range(24):
        save_photo(tmp_path / f"{number}.jpg", rng)
    against = run("benchmarks/historic.py", str(model), *options, "--count", "3", "--against", "starter")
    assert against.stdout.startswith(done[0].stdout.split("\n")[0]), against.stderr
    assert "less the other model, paired" in against.stdout
    folder = ("--photographs", str(tmp_path))
    many = run("benchmarks/historic.py", str(model), *options, *folder)
    assert "Means over 24 photographs" in many.stdout, many.stderr
    assert "for each of 20 parts" in many.stdout
    (tmp_path / "7.jpg").write_bytes(b"<html>")
    broken = run("benchmarks/historic.py", str(model), *options, *folder)
    assert broken.returncode == 2
    assert "7.jpg: unreadable" in broken.stderr
    assert "Traceback" not in broken.stderr
    few = run("benchmarks/historic.py", str(model), *options, "--photographs", str(model))
    assert few.returncode == 2
    assert "0 photographs" in few.stderr


def test_every_historic_photograph_has_an_origin() -> None:
    captions = make_gallery.read_captions(HISTORIC)
    assert set(captions) == {file.relative_to(HISTORIC).as_posix() for file in HISTORIC.rglob("*.jpg")}
    assert captions["america/buffalo-1908.jpg"] == (
        "Buffalo, 1908. Detroit Publishing Company; Library of Congress, public domain."
    )
    assert sum(file.stat().st_size for file in HISTORIC.rglob("*")) < 3e6


@pytest.mark.slow
def test_the_gallery_is_the_same_each_time_and_leaves_nothing_out(model: Path, tmp_path: Path) -> None:
    names = ("prokudin-gorskii/00153v.jpg", "prokudin-gorskii/00458v.jpg", "america/buffalo-1908.jpg")
    for name in ("photographs.csv", *names):
        (tmp_path / "few" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(HISTORIC / name, tmp_path / "few" / name)
    made = []
    for number in range(2):
        out = tmp_path / str(number)
        words = ("--historic", str(tmp_path / "few"), "--out", str(out), "--no-classifier")
        done = run("scripts/make_gallery.py", str(model), *words)
        assert done.returncode == 0, done.stderr
        made.append({file.relative_to(out).as_posix(): file.read_bytes() for file in out.rglob("*") if file.is_file()})
    assert made[0] == made[1]
    pictures = {f"gallery/{Path(name).stem}.jpg" for name in names}
    assert set(made[0]) == {"gallery.md", *pictures}
    text = made[0]["gallery.md"].decode()
    assert all(f"]({picture})" in text for picture in pictures)
    for caption in ("Negative 00153, 1905-1915. Sergei Prokudin-Gorskii; Library", "Buffalo, 1908. Detroit"):
        assert caption in text
    assert "| lightness | model |" in text
    assert str(tmp_path) not in text
    # Smallest error first.
    errors = [float(found) for found in re.findall(r"ab_mae ([\d.]+), of gray", text)]
    assert errors == sorted(errors)
    assert len(errors) == 2
    # What is shown: before, which is gray; after, which has color; the true color.
    row = np.asarray(Image.open(tmp_path / "0/gallery/00458v.jpg")).astype(int)
    width = (row.shape[1] + make_gallery.GAP) // 3
    before, after, true = (row[:, place * width : (place + 1) * width - make_gallery.GAP] for place in range(3))
    assert np.ptp(before, axis=2).max() < 12
    assert mean_chroma(after.astype(np.uint8)) > 3
    plates = historic.read_plates(HISTORIC / "prokudin-gorskii/00458v.jpg")
    assert mean_chroma(true.astype(np.uint8)) == pytest.approx(mean_chroma(plates), rel=0.1)


def test_a_photograph_without_an_origin_is_refused(tmp_path: Path) -> None:
    (tmp_path / "america").mkdir()
    with pytest.raises(InputError, match=r"photographs.csv: cannot be read .* it lists file,title"):
        make_gallery.read_captions(tmp_path)
    (tmp_path / "photographs.csv").write_text("file,title,year,photographer,origin\n", encoding="utf-8")
    shutil.copy(HISTORIC / "america/buffalo-1908.jpg", tmp_path / "america")
    with pytest.raises(InputError, match=r"no line for america/buffalo-1908.jpg; say where each photograph comes from"):
        make_gallery.read_captions(tmp_path)
