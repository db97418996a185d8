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
from PIL import Image, ImageDraw

from pipeline.coloring.copies import stem_of
from pipeline.coloring.hint_files import MARK, read_hints, write_hints
from pipeline.coloring.worker import PREVIEW, Worker
from pipeline.errors import ColoringError, HintError
from pipeline.inference.hints import Hint, Painted, require_hints, rgb_of
from pipeline.inference.reference import can_compare
from pipeline.page.palette import PALETTE, color_at, likely_colors

_FIRST_COLOR = "#8b1a1a"
# Of the square that shows where a color was said, as a share of the short side.
_SHOWN = 0.02
# Pixels, more than any photograph has.
_FARTHEST = 10**7
_BUTTON = (
    '<button type="button" aria-label="{color}" title="{color}" data-place="{place}" onclick="sayColor(this)" '
    'style="background: {color}; width: 2rem; height: 2rem; border: 1px solid currentColor"></button>'
)
# gradio's picker of colors has no name for those who hear the page, and no way in for a keyboard: the browser's own has
# both. Its button around a picture has no name either.
_ACCESSIBLE = r"""() => {
    const whole = document.querySelector('#say'), palette = document.createElement('datalist');
    palette.id = 'palette';
    palette.append(...COLORS.map((color) => Object.assign(document.createElement('option'), {value: color})));
    if (!document.querySelector('#palette')) document.body.append(palette);
    // A color that is offered is said of the place that was clicked last, if it is still there, and of the next one.
    window.sayColor = (button) => {
        const color = button.title, place = button.dataset.place;
        const put = (field, value) => {
            field.value = value;
            field.dispatchEvent(new Event('input', {bubbles: true}));
        };
        const list = whole.querySelector('#hints textarea'), lines = list.value.split('\n');
        const last = lines.findLastIndex((line) => line.startsWith(`${place} `));
        const radius = last < 0 ? '' : / \S+( \d[\d.]*%?)$/.exec(lines[last].slice(place.length))?.[1] ?? '';
        if (last >= 0) put(list, lines.with(last, `${place} ${color}${radius}`).join('\n'));
        put(whole.querySelector('#color input'), color);
    };
    const name = () => {
        whole.querySelectorAll('#color input:not([type=color])').forEach((one) => {
            one.type = 'color';
            one.setAttribute('list', 'palette');
        });
        for (const part of whole.querySelectorAll('#place, #pipette')) {
            const label = part.querySelector('label')?.textContent.trim();
            part.querySelectorAll('button:not([aria-label])').forEach((one) => { one.ariaLabel = label; });
        }
    };
    new MutationObserver(name).observe(whole, {childList: true, subtree: true});
    name();
}""".replace("COLORS", json.dumps(PALETTE))


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
    likely: gr.HTML
    """Colors for the place of the last click."""
    reference: gr.File
    """A color picture."""
    pipette: gr.Image
    """What is seen of it; a click takes the color of a place."""
    unread: gr.HTML
    """Why the color picture cannot be shown."""
    like: gr.Checkbox
    """Whether photographs get its colors where they match."""
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
        likely = gr.HTML(visible=False, elem_id="likely")
        problem = gr.HTML(visible=False, elem_id="hint-problem")
        with gr.Row():
            undo = gr.Button(texts("undo"), elem_id="undo")
            redo = gr.Button(texts("redo"), elem_id="redo")
            clear = gr.Button(texts("clear"), elem_id="clear")
            save = gr.DownloadButton(texts("save_hints"), interactive=False, elem_id="save-hints")
            load = gr.UploadButton(texts("load_hints"), file_types=[".json"], elem_id="load-hints")
        # gradio's own part for pictures shows no TIFF and no HEIC: a preview of any file is shown instead.
        reference = gr.File(label=texts("reference"), height=120, elem_id="reference")
        unread = gr.HTML(visible=False, elem_id="unread")
        like = gr.Checkbox(can_compare(), label=texts("like"), visible=False, elem_id="like")
        pipette = gr.Image(label=texts("pipette"), type="filepath", interactive=False, visible=False, elem_id="pipette",
                           buttons=[])  # fmt: skip
    parts = HintParts(whole, place, color, lines, undo, redo, clear, save, load, problem, likely, reference, pipette,
                      unread, like, gr.State([]))  # fmt: skip
    _connect(parts)
    return parts


def connect_colors(parts: HintParts, worker: Worker, slider: gr.ImageSlider, folder: Path, texts: Any) -> None:
    """Offer the colors of the result and of the reference picture.

    Args:
        slider: shows the photograph before and after.
        folder: for previews.
        texts: the page's, by key.
    """

    def offer(pair: tuple[str, str] | None, shown: str, event: gr.SelectData) -> gr.HTML:
        if not pair:
            return gr.HTML(visible=False)
        x, y = _shares(event, shown)
        with Image.open(pair[1]) as after:
            painted = color_at(after, x, y)
        place = _place(x, y)
        buttons = " ".join(_BUTTON.format(color=color, place=place) for color in likely_colors(painted))
        label = f'<span id="likely-here">{texts("likely")}</span>'
        return gr.HTML(f'<div role="group" aria-labelledby="likely-here">{label} {buttons}</div>', visible=True)

    def look(path: str | None) -> dict[Any, Any]:
        hidden = {parts.pipette: gr.Image(None, visible=False), parts.like: gr.Checkbox(visible=False)}
        if path is None:
            return {**hidden, parts.unread: said_wrong([])}
        try:
            seen = worker.preview(Path(path), Path(tempfile.mkdtemp(dir=folder)))
        except ColoringError as error:
            return {**hidden, parts.unread: said_wrong([str(error)])}
        shown = {parts.pipette: gr.Image(str(seen), visible=True), parts.like: gr.Checkbox(visible=can_compare())}
        return {**shown, parts.unread: said_wrong([])}

    def pick(seen: str, event: gr.SelectData) -> str:
        with Image.open(seen) as image:
            return color_at(image, *_shares(event, seen))

    at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    parts.place.select(offer, [slider, parts.place], parts.likely, **at_once)
    parts.reference.change(look, parts.reference, [parts.pipette, parts.like, parts.unread])
    parts.pipette.select(pick, parts.pipette, parts.color, **at_once)


def _shares(event: gr.SelectData, shown: str) -> tuple[float, float]:
    """Return where somebody clicked on a picture, as shares of its width and height."""
    with Image.open(shown) as image:
        return event.index[0] / image.width, event.index[1] / image.height


def _place(x: float, y: float) -> str:
    return f"{100 * x:.1f}% {100 * y:.1f}%"


def _connect(parts: HintParts) -> None:
    undone = parts.undone

    def add(text: str, color: str, shown: str, event: gr.SelectData) -> tuple[str, list[str]]:
        return _joined([*_lines(text), f"{_place(*_shares(event, shown))} {color}"]), []

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
    path = before.with_name(f"said-{abs(hash(tuple(hints)))}.jpg")
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
        for rim, color in ((2, "black"), (1, "white"), (0, rgb_of(hint.color))):
            draw.rectangle((x - side / 2 - rim, y - side / 2 - rim, x + side / 2 + rim, y + side / 2 + rim), fill=color)
    picture.save(path, **PREVIEW)
    return path


def saved(source: Path, hints: tuple[Hint, ...], folder: Path) -> gr.DownloadButton:
    """Write the hints of a photograph, to be downloaded under the name that `twotone colorize` looks for."""
    if not hints:
        return gr.DownloadButton(value=None, interactive=False)
    path = Path(tempfile.mkdtemp(dir=folder)) / f"{stem_of(source)}{MARK}.json"
    write_hints(path, hints)
    return gr.DownloadButton(value=str(path), interactive=True)
