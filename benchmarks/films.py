"""How fast a film is colored: in three threads, against one after the other, and what each part of it takes.

    python benchmarks/films.py [MODEL] [--film FILM] [--frames 60] [--size 640x480] [--repeats 5]

A frame is decoded, colored and encoded. `twotone colorize` does so in three threads that overlap. That and the same
work in one thread are timed here, in alternation. The film is the first frames of FILM, or a generated one: a
photograph of scikit-image under a camera that pans to and fro, with grain. Both are gray. Both ways must give the same
file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from itertools import count, islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import numpy as np
from PIL import Image
from skimage import data

from pipeline.coloring.one_file import SMOOTHING
from pipeline.inference import Colorizer, video
from pipeline.inference.colorizer import ColoringOptions
from pipeline.inference.video import VideoOptions, color_video
from pipeline.media.video_reader import VideoReader
from pipeline.media.video_writer import VideoWriter

STARTER = Path(__file__).parents[1] / "checkpoints/starter"
OPTIONS = VideoOptions(ColoringOptions(), smoothing=SMOOTHING, max_pixels=10**8, compare=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, default=STARTER)
    parser.add_argument("--film", type=Path)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    colorizer = Colorizer.load(given.model)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "film.mp4")
        shots = frames_of(given.film) if given.film else pan(given.size)
        write(source, islice(shots, given.frames))
        frames = film_length(source)
        overlapping, one_thread = (Path(name, f"{way}.mp4") for way in ("overlapping", "one-thread"))
        times: dict[str, list[float]] = {"three threads": [], "one thread": []}
        for number in range(given.repeats + 1):
            taken = seconds(lambda: color_video(source, overlapping, colorizer, OPTIONS))
            with patch.object(video, "_ahead", one_after_the_other):
                alone = seconds(lambda: color_video(source, one_thread, colorizer, OPTIONS))
            if number:  # the first warms up
                times["three threads"].append(taken)
                times["one thread"].append(alone)
        assert overlapping.read_bytes() == one_thread.read_bytes(), "the two films differ"
        report(times, frames)
        parts = parts_of(source, one_thread, colorizer)
    print("\nof one thread, ms a frame: " + ", ".join(f"{part} {1000 * s / frames:.0f}" for part, s in parts.items()))


def report(times: dict[str, list[float]], frames: int) -> None:
    print("| | ms a frame | time by three threads | of pairs |\n|---|---|---|---|")
    for way, taken in times.items():
        ratios = [other / own for other, own in zip(taken, times["three threads"], strict=True)]
        cells = (way, f"{1000 * statistics.median(taken) / frames:.0f}", f"{statistics.median(ratios):.2f}",
                 f"{min(ratios):.2f}-{max(ratios):.2f}")  # fmt: skip
        print(f"| {' | '.join(cells)} |")


def parts_of(source: Path, target: Path, colorizer: Colorizer) -> dict[str, float]:
    """Return the seconds that decoding, coloring and encoding take where nothing overlaps."""
    taken = dict.fromkeys(("decoding", "coloring", "encoding", "the rest"), 0.0)

    def clocked(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any) -> Any:
            started = time.perf_counter()
            try:
                return work(*given)
            finally:
                taken[part] += time.perf_counter() - started

        return timed

    def parts(reader: VideoReader) -> Generator[Any]:
        iterator = own_parts(reader)
        following = clocked("decoding", next)
        while (part := following(iterator, None)) is not None:
            yield part

    own_parts = VideoReader.parts
    with (
        patch.object(video, "_ahead", one_after_the_other),
        patch.object(VideoReader, "parts", parts),
        patch.object(video._Painter, "paint", clocked("coloring", video._Painter.paint)),
        patch.object(VideoWriter, "add", clocked("encoding", VideoWriter.add)),
        patch.object(VideoWriter, "finish", clocked("encoding", VideoWriter.finish)),
    ):
        whole = seconds(lambda: color_video(source, target, colorizer, OPTIONS))
    return taken | {"the rest": whole - sum(taken.values())}


def one_after_the_other(items: Iterable[Any]) -> Generator[Any]:
    yield from items


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def pan(size: str) -> Generator[np.ndarray]:
    """Yield gray frames of a photograph under a camera that moves to the right and back, a pixel a frame."""
    width, height = (int(side) for side in size.split("x"))
    rng = np.random.default_rng(0)
    photograph = Image.fromarray(data.astronaut()).convert("L").resize((2 * width, height))
    for number in count():
        left = width - abs(width - number % (2 * width))
        frame = np.asarray(photograph, np.float32)[:, left : left + width]
        yield (frame + rng.normal(0, 4, frame.shape)).clip(0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def frames_of(film: Path) -> Generator[np.ndarray]:
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="gray")[..., None].repeat(3, 2)


def write(path: Path, frames: Iterable[np.ndarray]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18"})
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            height, width = (side // 2 * 2 for side in frame.shape[:2])  # as yuv420p must have them
            if not number:
                stream.height, stream.width = height, width
            frame = np.ascontiguousarray(frame[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))


def film_length(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


if __name__ == "__main__":
    main()
