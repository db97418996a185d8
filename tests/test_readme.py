"""The README and the pages that it leads to, as a reader types them: each command runs."""

from __future__ import annotations

import itertools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pipeline.color.tensors import ColorSpace
from pipeline.models.generators import build_generator
from pipeline.params.schema import read
from tests.helpers import QUICKSTART, ROOT, Project, environment, save_photo

README = (ROOT / "README.md").read_text(encoding="utf-8")
# Of the other pages, those whose commands no test of their own tries.
OTHERS = (
    "first-training",
    "how-to/color-photographs",
    "how-to/train-your-own",
    "explanation/reproducible",
    "how-to/compare-and-swap",
    "results/real-photographs",
    "how-to/processes",
    "how-to/score",
)
PAGES = [README, *((ROOT / f"docs/{name}.md").read_text(encoding="utf-8") for name in OTHERS)]
BLOCKS = [re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL) for page in PAGES]
# What a reader types to begin a page with what the last commit has.
CLEAN = "git checkout params.yaml dvc.lock reports && dvc checkout"


def film(path: Path) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            gray = np.full((48, 64, 3), 40 * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(gray, "rgb24")))
        container.mux(video.encode(None))


def as_typed(block: str, photographs: Path) -> str:
    """With small counts, a real folder, and a server that ends."""
    for old, new in (
        ("uv run pytest\n", ""),
        ("pip install uv && ", ""),
        ('pip install ".[serve,film,heic,sixteen-bit]"', ""),
        ('python3 -m venv .venv\nsource .venv/bin/activate\npip install ".[serve]"\n', ""),
        ("uv run ", ""),
        ("docs/historic", str(ROOT / "docs/historic")),
        # Of several pages only the first has something to commit.
        ("git commit -am", "git -c user.name=test -c user.email=test@example.org commit --quiet --allow-empty -am"),
        ("twotone serve --open", "twotone serve"),
        ("/absolute/path/to/photographs", str(photographs)),
        ("/absolute/path/to/flowers", str(photographs)),
        ("/absolute/path/to/parquet", str(photographs.with_suffix(".parquet"))),
        (
            "sample.train=3400 -S sample.valid=250 -S sample.test=250",
            "sample.train=20 -S sample.valid=4 -S sample.test=4",
        ),
        (
            "pretrain.epochs=10 -S 'pretrain.sample_epochs=[1,10]'",
            "pretrain.epochs=2 -S 'pretrain.sample_epochs=[1,2]'",
        ),
        ("pretrain.micro_batch=8", "pretrain.micro_batch=2"),
        # Two small experiments are enough to see that it runs.
        ("twotone seeds 123 124 125", "twotone seeds 123 124"),
        (
            "twotone serve",
            # Without what an earlier one has said: it would be killed before it listens to signals.
            "rm -f served.txt; twotone serve --port 7913 > served.txt 2>&1 & "
            "until grep -q 'colors photographs' served.txt; do kill -0 $!; sleep 0.2; done; kill $!; wait $!",
        ),
    ):
        block = block.replace(old, new)
    return block


def commit_of_another_machine(project: Project) -> None:
    """The commit of a fresh clone names models that are not in this machine's cache."""
    lock = project.folder / "dvc.lock"
    own, numbers = lock.read_text(encoding="utf-8"), itertools.count()
    models = r"(path: checkpoints/\w+\n\s+hash: md5\n\s+md5: )[0-9a-f]{32}"
    lock.write_text(re.sub(models, lambda found: f"{found[1]}{next(numbers):032x}", own), encoding="utf-8")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "results")
    lock.write_text(own, encoding="utf-8")


@pytest.mark.slow
def test_every_command_runs(make_project: Callable[[str], Project], rng: np.random.Generator) -> None:
    project = make_project("readme")
    project.change(generator={"backbone": "test_efficientnet"})
    photographs = project.folder / "photographs"
    photographs.mkdir()
    for number in range(40):
        save_photo(photographs / f"{number}.jpg", rng)
    pictures = [file.read_bytes() for file in sorted(photographs.iterdir())]
    pq.write_table(pa.table({"image": pictures}), project.folder / "photographs.parquet")
    save_photo(project.folder / "street.jpg", rng, (120, 90))
    save_photo(project.folder / "postcard.jpg", rng, (120, 90))
    film(project.folder / "street.mp4")
    # As fastai's users save theirs; of the smallest size that `import` knows.
    space, base = ColorSpace("lab"), read(QUICKSTART).generator
    torch.save(build_generator(base, space, 64, seed=0).state_dict(), project.folder / "res18-unet.pt")
    (project.folder / ".venv").symlink_to(Path(environment()["PATH"].split(":")[0]).parent)
    (project.folder / ".git/hooks").mkdir(exist_ok=True)
    assert all(BLOCKS)
    theirs = committed = False
    for block in [block for blocks in BLOCKS for block in (*blocks, CLEAN)]:
        if block == CLEAN and not committed:
            continue
        script = as_typed(block, photographs)
        project.bash(script, timeout=900)
        if "dvc repro" in script and not theirs:
            commit_of_another_machine(project)
            theirs = True
        committed = committed or "git commit" in block
        if "queue start" in script:
            project.wait_for_the_queue()
    assert Image.open(project.folder / "street-in-color.jpg").size == (120, 90)
    assert (project.folder / "piped.jpg").read_bytes() == (project.folder / "street-in-color.jpg").read_bytes()
    assert (project.folder / "colored/street.mp4").exists()
    assert (project.folder / "colored/39.jpg").exists()
    assert subprocess.run(["git", "status", "--short", "colored", "dvc_plots"], cwd=project.folder,
                          capture_output=True, encoding="utf-8").stdout == ""  # fmt: skip


def test_no_text_sends_anybody_to_another_projects_package() -> None:
    """In the package index, the name twotone is a stranger's."""
    for path in [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("recipes/*"),
        *ROOT.glob("pipeline/**/*.py"),
    ]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(install|add|uvx|pipx run)\s+(-\S+\s+)*[\"']?twotone", text), path
        assert "twotone[" not in text, path
