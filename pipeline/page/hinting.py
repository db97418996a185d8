"""The part of the page where colors are said: a click on the photograph, a color, and a list that can be typed."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image, ImageColor, ImageDraw

from pipeline.coloring.hint_files import MARK, read_hints, write_hints
from pipeline.errors import HintError
from pipeline.inference.hints import Hint, Painted, require_hints

_FIRST_COLOR = "#8b1a1a"
# Of the square that shows where a color was said, as a share of the short side.
_SHOWN = 0.02
# Pixels, more than any photograph has.
_FARTHEST = 10**7
# What people say most often, to begin with: skin and lips, hair, leaves, sky and sea, brick and wood, cloth, paint.
_PALETTE = (
    *("#f1c9a5", "#c68642", "#8d5524", "#c0605a", "#5a3825", "#d9b66f", "#4f7a28", "#7fae42", "#87b5de", "#2f6f9f"),
    *("#a5482f", "#8a6239", "#b3a077", "#7a1f2b", "#c62828", "#e07b28", "#e6c229", "#1f3a63", "#5b3f8c", "#808080"),
)
# gradio's picker of colors has no name for those who hear the page, and no way in for a keyboard: the browser's own has
# both. Its button around a picture has no name either.
_ACCESSIBLE = """() => {
    const whole = document.querySelector('#say'), palette = document.createElement('datalist');
    palette.id = 'palette';
    palette.append(...COLORS.map((color) => Object.assign(document.createElement('option'), {value: color})));
    if (!document.querySelector('#palette')) document.body.append(palette);
    const name = () => {
        whole.querySelectorAll('#color input:not([type=color])').forEach((one) => {
            one.type = 'color';
            one.setAttribute('list', 'palette');
        });
        const label = whole.querySelector('#place label')?.textContent.trim();
        whole.querySelectorAll('#place button:not([aria-label])').forEach((one) => { one.ariaLabel = label; });
    };
    new MutationObserver(name).observe(whole, {childList: true, subtree: true});
    name();
}""".replace("COLORS", json.dumps(_PALETTE))


@dataclass(frozen=True)
class HintParts:
    """The parts of the page."""

    whole: gr.Accordion
    place: gr.Image
    """The photograph before, with the colors that were said; a click says one more."""
    color: gr.Textbox
    """The browser's own choice of a color, which a keyboard and a finger can use."""
    lines: gr.Textbox
    """A hint on each line: x, y, color and, if it is not 1.5%, the radius."""
    undo: gr.Button
    redo: gr.Button
    clear: gr.Button
    save: gr.DownloadButton
    load: gr.UploadButton
    problem: gr.HTML
    undone: gr.State
    """Lines that were taken back, of the photograph whose lines are shown."""


def hint_parts(texts: Any) -> HintParts:
    """Lay out the parts.

    Args:
        texts: the page's, by key.
    """
    with gr.Accordion(texts("say"), open=False, visible=False, elem_id="say") as whole:
        place = gr.Image(label=texts("place"), type="filepath", interactive=False, elem_id="place", buttons=[])
        with gr.Row():
            color = gr.Textbox(_FIRST_COLOR, label=texts("color"), max_lines=1, elem_id="color")
            lines = gr.Textbox("", label=texts("hints"), info=texts("hints_info"), lines=3, max_lines=12,
                               elem_id="hints", scale=3)  # fmt: skip
        problem = gr.HTML(visible=False, elem_id="hint-problem")
        with gr.Row():
            undo = gr.Button(texts("undo"), elem_id="undo")
            redo = gr.Button(texts("redo"), elem_id="redo")
            clear = gr.Button(texts("clear"), elem_id="clear")
            save = gr.DownloadButton(texts("save_hints"), interactive=False, elem_id="save-hints")
            load = gr.UploadButton(texts("load_hints"), file_types=[".json"], elem_id="load-hints")
    parts = HintParts(whole, place, color, lines, undo, redo, clear, save, load, problem, gr.State([]))
    _connect(parts)
    return parts


def _connect(parts: HintParts) -> None:
    undone = parts.undone

    def add(text: str, color: str, shown: str, event: gr.SelectData) -> tuple[str, list[str]]:
        with Image.open(shown) as image:
            x, y = (100 * place / length for place, length in zip(event.index, image.size, strict=True))
        return _joined([*_lines(text), f"{x:.1f}% {y:.1f}% {color}"]), []

    def undo(text: str, later: list[str]) -> tuple[str, list[str]]:
        lines = _lines(text)
        return _joined(lines[:-1]), [*later, *lines[-1:]]

    def redo(text: str, later: list[str]) -> tuple[str, list[str]]:
        return _joined([*_lines(text), *later[-1:]]), later[:-1]

    def clear(text: str, later: list[str]) -> tuple[str, list[str]]:
        return "", [*later, *_lines(text)[::-1]]

    def load(path: str, text: str) -> dict[Any, Any]:
        try:
            hints = read_hints(Path(path))
            if isinstance(hints, Painted):
                raise HintError("a painted copy; put it beside the photograph for `twotone colorize`")
        except HintError as error:
            return {parts.problem: said_wrong([str(error).removeprefix(f"{path}: ")])}
        return {parts.lines: _joined(map(_line, hints)), undone: _lines(text)[::-1]}

    parts.whole.expand(None, js=_ACCESSIBLE)
    at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    parts.place.select(add, [parts.lines, parts.color, parts.place], [parts.lines, undone], **at_once)
    parts.undo.click(undo, [parts.lines, undone], [parts.lines, undone], **at_once)
    parts.redo.click(redo, [parts.lines, undone], [parts.lines, undone], **at_once)
    parts.clear.click(clear, [parts.lines, undone], [parts.lines, undone], **at_once)
    parts.load.upload(load, [parts.load, parts.lines], [parts.lines, parts.problem, undone], **at_once)


def parse(text: str) -> tuple[tuple[Hint, ...], list[str]]:
    """Read the lines of the list.

    Returns:
        The hints that mean something, and a sentence for each line that does not.
    """
    hints, problems = list[Hint](), list[str]()
    for number, line in enumerate(_lines(text), 1):
        try:
            hints.append(_read(line))
        except HintError as error:
            problems.append(str(error).replace("hint 1", f"{number}", 1))
    return tuple(hints), problems


def _read(line: str) -> Hint:
    words = line.split()
    x, y, *color = [*words, "", ""] if len(words) < 3 else words
    radius = None
    if len(color) > 1 and not color[-1].endswith(")"):
        radius = _number(color.pop())
    hint = Hint(_number(x), _number(y), " ".join(color), radius)
    # Shares are refused beyond 100%; whether pixels lie on the photograph is known when it is colored.
    require_hints([hint], _FARTHEST, _FARTHEST)
    return hint


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _line(hint: Hint) -> str:
    numbers = [value if isinstance(value, str) else f"{value:g}" for value in (hint.x, hint.y)]
    radius = "" if hint.radius is None else f" {hint.radius if isinstance(hint.radius, str) else f'{hint.radius:g}'}"
    return f"{' '.join(numbers)} {hint.color}{radius}"


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _joined(lines: Any) -> str:
    return "\n".join(lines)


def said_wrong(problems: Sequence[str]) -> gr.HTML:
    lines = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
    return gr.HTML(f'<div role="alert"><ul>{lines}</ul></div>' if problems else "", visible=bool(problems))


def marked(before: Path, hints: Sequence[Hint]) -> Path:
    """Draw what was said onto a preview, beside it: a square of each color with a light and a dark rim."""
    path = before.with_name(f"said-{abs(hash(tuple(hints)))}.webp")
    with Image.open(before) as image:
        picture = image.convert("RGB")
    draw, side = ImageDraw.Draw(picture), max(5, round(_SHOWN * min(picture.size)))
    for hint in hints:
        if not (isinstance(hint.x, str) and isinstance(hint.y, str)):
            continue  # pixels are of the photograph, and this is a smaller one
        x, y = (
            float(share.rstrip("% ")) / 100 * length
            for share, length in zip((hint.x, hint.y), picture.size, strict=True)
        )
        for rim, color in ((2, "black"), (1, "white"), (0, ImageColor.getrgb(hint.color)[:3])):
            draw.rectangle((x - side / 2 - rim, y - side / 2 - rim, x + side / 2 + rim, y + side / 2 + rim), fill=color)
    picture.save(path, "WEBP", quality=90, method=2)
    return path


def saved(source: Path, hints: tuple[Hint, ...], folder: Path) -> gr.DownloadButton:
    """Write the hints of a photograph, to be downloaded under the name that `twotone colorize` looks for."""
    if not hints:
        return gr.DownloadButton(value=None, interactive=False)
    path = Path(tempfile.mkdtemp(dir=folder)) / f"{source.stem}{MARK}.json"
    write_hints(path, hints)
    return gr.DownloadButton(value=str(path), interactive=True)
