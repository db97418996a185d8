"""The web page that colors photographs: its parts, and what happens when somebody uses them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from html import escape
from pathlib import Path
from typing import Any

# Read when gradio is imported: nothing is counted, nothing is asked for, and no browser keeps a list of what it sent.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_RUN_HISTORY"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import gradio as gr

from pipeline.coloring.batch import Batch, Controls, Task, color_all, is_done, keep_alive
from pipeline.coloring.worker import Result, Worker
from pipeline.inference.colorizer import Colorizer
from pipeline.inference.hints import Hint
from pipeline.page.hinting import (
    HintParts,
    connect_colors,
    hint_parts,
    marked,
    parse,
    said_wrong,
    saved,
)
from pipeline.page.texts import LANGUAGES

# Photographs are private: every ten minutes, all that is older than an hour is deleted.
KEEP_SECONDS, CLEAN_SECONDS = 3600, 600
_MOST_VARIANTS = 6
_MOST_PHOTOGRAPHS = 50
_LARGEST_RENDER = 512
_BETWEEN_UPDATES = 0.25  # seconds

_TEXTS = gr.I18n(**LANGUAGES)
_GRAY, _LIGHT_GRAY, _LIGHT_BLUE = "*neutral_600", "*neutral_300", "*secondary_300"
# Of this tab alone: another one has photographs of its own.
_KEY_OF_THE_TAB = """() => {
    const drawn = () => Array.from(crypto.getRandomValues(new Uint32Array(8)), (n) => n.toString(36)).join('-');
    const key = sessionStorage.getItem('twotone') ?? drawn();
    sessionStorage.setItem('twotone', key);
    return [key];
}"""
# Else a gallery's label covers the thumbnails.
_CSS = "#photographs .grid-wrap, #colorings .grid-wrap {padding-top: 2rem}"


def looks() -> dict[str, Any]:
    """Return the keyword arguments of `launch` that say how the page looks, and in which languages."""
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    # gradio's own have a contrast of 1.9 (grays) and 4.0 (links in the dark); WCAG 2.2 AA asks for 4.5.
    theme.set(body_text_color_subdued=_GRAY, body_text_color_subdued_dark=_LIGHT_GRAY,
              link_text_color_dark=_LIGHT_BLUE)  # fmt: skip
    return {"theme": theme, "css": _CSS, "i18n": _TEXTS}


@dataclass(frozen=True)
class _View:
    """The parts that show results."""

    status: gr.HTML
    slider: gr.ImageSlider
    divider: gr.Slider
    photographs: gr.Gallery
    colorings: gr.Gallery
    download: gr.DownloadButton
    archive: gr.DownloadButton
    problems: gr.HTML


@dataclass(frozen=True)
class Kept:
    """What somebody sent, how the controls stood, and what came out."""

    paths: tuple[str, ...]
    values: tuple[float, ...]
    reference: str | None
    """A color picture."""
    like: bool
    """Whether photographs get its colors where they match."""
    batch: Batch


class Sessions:
    """What is shown again when a page is loaded again, by a key that its tab alone knows; for an hour."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, Kept]] = {}
        self._said: dict[str, tuple[float, dict[str, str]]] = {}

    def keep(self, key: str, kept: Kept) -> None:
        if key:
            self._kept = {**_younger(self._kept), key: (time.monotonic(), kept)}

    def say(self, key: str, said: dict[str, str]) -> None:
        """Keep what was typed at once, and not when it has been colored.

        Args:
            said: by photograph, the lines of the colors that were said for it.
        """
        if key:
            self._said = {**_younger(self._said), key: (time.monotonic(), said)}

    def said(self, key: str) -> dict[str, str]:
        return self._said[key][1] if key in self._said else {}

    def find(self, key: str) -> Kept | None:
        """Return what is there; None where files of it have been deleted."""
        if key not in self._kept:
            return None
        _, kept = self._kept[key]
        files = [path for result in kept.batch.results.values() for path in result.full]
        if kept.reference and not Path(kept.reference).exists():
            kept = replace(kept, reference=None)
        return kept if all(path.exists() for path in [*files, *map(Path, kept.paths)]) else None

    def forget(self, key: str) -> None:
        self._kept.pop(key, None)


def _younger(entries: dict[str, tuple[float, Any]]) -> dict[str, tuple[float, Any]]:
    now = time.monotonic()
    return {key: entry for key, entry in entries.items() if now - entry[0] < KEEP_SECONDS}


def build_page(colorizer: Colorizer, worker: Worker, folder: Path, *, dial: float | None = None) -> gr.Blocks:
    """Build the page: an upload, before and after under one slider, the controls, and the downloads.

    Args:
        folder: for the results.
        dial: where that from faithful to vivid stands at first; None for a model without one.
    """
    with gr.Blocks(analytics_enabled=False, title="Twotone", delete_cache=(CLEAN_SECONDS, KEEP_SECONDS)) as page:
        gr.Markdown("# Twotone\n" + _TEXTS("intro"))
        # Of any kind: gradio drops others without a word that stays, and here each gets its reason.
        photos = gr.File(label=_TEXTS("photographs"), file_count="multiple", height=180, elem_id="upload")
        with gr.Row():
            # First: on a phone, columns lie below each other.
            with gr.Column(scale=3):
                view = _results()
                hints = hint_parts(_TEXTS)
            with gr.Column(scale=1):
                controls = _controls(colorizer, dial)
        batch = gr.State(Batch(), time_to_live=KEEP_SECONDS, delete_callback=Batch.delete)
        chosen = gr.State(None)
        # The lines of each photograph, and the photograph that those in the list belong to.
        said, owner = gr.State({}), gr.State(None)
        # What a tab remembers when the page is loaded again; the text brings it here.
        token, brought, sessions = gr.State(""), gr.Textbox(visible=False), Sessions()

        @apart
        def color(
            paths: list[str] | None,
            earlier: Batch,
            looked_at: str | None,
            key: str,
            lines: str,
            spoken: dict[str, str],
            of: str | None,
            reference: str | None,
            like: bool,
            *values: float,
        ) -> Iterator[Any]:
            saturation, share, count, size = values
            wanted = Controls(int(size), saturation, share if dial is not None else None, int(count))
            sources = _sources(paths)
            # Also of photographs that are gone: sent again, they get what was said.
            spoken = spoken | ({of: lines} if of else {})
            sessions.say(key, spoken)
            taken = Path(reference) if reference and like else None
            task = Task(sources, wanted, Path(looked_at) if looked_at else None, _hints_of(spoken), taken)
            if task.sources and is_done(task, earlier):
                # As where the page was loaded again: what is shown stays.
                keep_alive(earlier)
                sessions.keep(key, Kept(tuple(paths or ()), values, reference, like, earlier))
                yield {batch: earlier, said: spoken, **_list(hints, earlier, of, spoken)}
                return
            # Once, at the beginning: somebody may choose another photograph, and say colors for it, meanwhile.
            yield {said: spoken, **_waiting(view, len(task.sources))}
            if not task.sources:
                earlier.delete()
                if earlier.items:  # and not where the page is just being loaded again
                    sessions.forget(key)
                yield {
                    batch: Batch(),
                    owner: None,
                    hints.whole: gr.Accordion(visible=False),
                    hints.lines: "",
                    hints.likely: gr.HTML(visible=False),
                }
                return
            if of is None or Path(of) not in sources:
                of = _current(sources, looked_at)
                lines_of = {hints.lines: spoken.get(of, ""), hints.undone: [], hints.likely: gr.HTML(visible=False)}
                yield {owner: of, hints.whole: gr.Accordion(visible=True), **lines_of}
            shown: list[Result | None] = []
            for now in color_all(task, earlier, worker, folder):
                result = _looked_at(now, looked_at)
                # Somebody may have chosen another thumbnail meanwhile: what has not changed is not shown again.
                changed = {} if shown == [result] else _show(view, result) | _list(hints, now, of, spoken)
                shown = [result]
                sessions.keep(key, Kept(tuple(paths or ()), values, reference, like, now))
                yield {batch: now, **_progress(view, now, len(task.sources)), **changed}

        def restore(key: str) -> dict[Any, Any]:
            kept, spoken = sessions.find(key), sessions.said(key)
            if kept is None:
                return {batch: Batch(), token: key, said: spoken}
            keep_alive(kept.batch)
            parts = dict(zip(controls, kept.values, strict=True))
            shown = {**_progress(view, kept.batch, len(kept.paths)), **_show(view, _looked_at(kept.batch, None))}
            first = kept.paths[0]
            lines = {hints.whole: gr.Accordion(visible=True), hints.lines: spoken.get(first, "")}
            listed = {**lines, **_list(hints, kept.batch, first, spoken), **_save(hints, first, spoken, folder)}
            states = {batch: kept.batch, said: spoken, owner: first, token: key}
            states |= {hints.reference: kept.reference, hints.like: kept.like} if kept.reference else {}
            return {photos: list(kept.paths), **states, **parts, **shown, **listed}

        reference = [hints.reference, hints.like]
        changes = [
            photos.change,
            hints.lines.change,
            *(part.change for part in reference),
            *(control.change for control in controls),
        ]
        listed = [hints.whole, hints.place, hints.lines, hints.save, hints.problem]
        outputs = [*vars(view).values(), *listed, hints.likely, hints.undone, batch, said, owner]
        # By mouse, keyboard or number; of several changes made while it is busy, the last counts.
        given = [photos, batch, chosen, token, hints.lines, said, owner, *reference, *controls]
        gr.on(changes, color, given, outputs, trigger_mode="always_last",
              show_progress_on=view.status, js=_clamping(controls))  # fmt: skip

        def opened(now: Batch, of: str | None, spoken: dict[str, str], lines: str) -> dict[Any, Any]:
            said_before = spoken.get(of or "", "")
            forgotten = {hints.lines: said_before} if said_before != lines else {}
            return {**forgotten, **_list(hints, now, of, spoken), **_save(hints, of, spoken, folder)}

        def save(lines: str, of: str | None, spoken: dict[str, str], key: str) -> dict[Any, Any]:
            spoken = spoken | ({of: lines} if of else {})
            sessions.say(key, spoken)
            return {said: spoken, **_save(hints, of, spoken, folder)}

        # At once, and not when it has been colored: what is saved, and there again later, is what stands there.
        hints.lines.change(save, [hints.lines, owner, said, token], [said, hints.save], queue=False,
                           show_progress="hidden", trigger_mode="always_last")  # fmt: skip

        # gradio's page forgets what a closed part was given while it was closed.
        hints.whole.expand(opened, [batch, owner, said, hints.lines], listed, show_progress="hidden")
        shown_again = [photos, batch, said, owner, token, *reference, *controls, *vars(view).values(), *listed]
        page.load(restore, brought, shown_again, show_progress="hidden", js=_KEY_OF_THE_TAB)
        connect_colors(hints, worker, view.slider, folder, _TEXTS)
        _choosing(view, batch, chosen, hints, said, owner, folder)
    return page


def apart(updates: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Hold an update back until some time after the one before.

    Of two within milliseconds gradio's page may show the second without the first, as where an unreadable photograph
    follows another.
    """

    @wraps(updates)
    def spaced(*inputs: Any) -> Iterator[Any]:
        earliest = 0.0
        for update in updates(*inputs):
            time.sleep(max(0.0, earliest - time.monotonic()))
            earliest = time.monotonic() + _BETWEEN_UPDATES
            yield update

    return spaced


def _controls(colorizer: Colorizer, dial: float | None) -> list[gr.Slider]:
    saturation = gr.Slider(0, 2, 1, step=0.05, label=_TEXTS("saturation"), info=_TEXTS("saturation_info"))
    vivid = gr.Slider(
        0,
        1,
        1.0 if dial is None else dial,
        step=0.05,
        label=_TEXTS("vivid"),
        info=_TEXTS("vivid_info"),
        visible=dial is not None,
    )
    variants = gr.Slider(1, _MOST_VARIANTS, 1, step=1, label=_TEXTS("variants"), info=_TEXTS("variants_info"),
                         visible=colorizer.noisy)  # fmt: skip
    largest = max(_LARGEST_RENDER, colorizer.image_size)
    size = gr.Slider(32, largest, colorizer.image_size, step=32, label=_TEXTS("size"),
                     info=_TEXTS("size_info"))  # fmt: skip
    return [saturation, vivid, variants, size]


def _clamping(sliders: Sequence[gr.Slider]) -> str:
    """Return JavaScript that takes a slider's end for a number typed beyond it, of which gradio says "Error" alone."""
    bounds = [[slider.minimum, slider.maximum] for slider in sliders]
    return f"""(...values) => {{
        const bounds = {bounds}, first = values.length - bounds.length;
        return values.map((value, i) => i < first ? value
            : Math.min(Math.max(value, bounds[i - first][0]), bounds[i - first][1]));
    }}"""


def _results() -> _View:
    status = gr.HTML(_status(_TEXTS("waiting")), elem_id="status")
    problems = gr.HTML(visible=False, elem_id="problems")
    thumbnails = {
        "height": 170,
        "visible": False,
        "allow_preview": False,
        "buttons": [],
        "columns": 6,
        "fit_columns": False,
        "object_fit": "contain",
    }
    photographs = gr.Gallery(label=_TEXTS("choose"), elem_id="photographs", **thumbnails)
    slider = gr.ImageSlider(label=_TEXTS("result"), type="filepath", elem_id="result", max_height=700, visible=False,
                           interactive=False, buttons=["fullscreen"])  # fmt: skip
    # gradio's own divider moves by mouse and finger only.
    divider = gr.Slider(0, 100, 50, step=1, label=_TEXTS("divider"), info=_TEXTS("divider_info"), visible=False)
    divider.input(_divide, divider, slider, queue=False, show_progress="hidden", trigger_mode="always_last")
    colorings = gr.Gallery(label=_TEXTS("colorings"), elem_id="colorings", **thumbnails)
    with gr.Row():
        download = gr.DownloadButton(_TEXTS("download"), interactive=False, elem_id="download")
        archive = gr.DownloadButton(_TEXTS("archive"), interactive=False, visible=False, elem_id="archive")
    return _View(status, slider, divider, photographs, colorings, download, archive, problems)


def _choosing(
    view: _View, batch: gr.State, chosen: gr.State, hints: HintParts, said: gr.State, owner: gr.State, folder: Path
) -> None:
    """Connect the thumbnails."""

    def photograph(
        now: Batch, lines: str, spoken: dict[str, str], of: str | None, event: gr.SelectData
    ) -> dict[Any, Any]:
        sources = list(now.results)
        if int(event.index) not in range(len(sources)):
            raise _gone()
        source = str(sources[int(event.index)])
        spoken = spoken | ({of: lines} if of else {})
        saved_now = _save(hints, source, spoken, folder)
        listed = {hints.lines: spoken.get(source, ""), **_list(hints, now, source, spoken), **saved_now}
        states = {chosen: source, said: spoken, owner: source, hints.undone: [], hints.likely: gr.HTML(visible=False)}
        return {**_show(view, now.results[Path(source)]), **listed, **states}

    def coloring(now: Batch, looked_at: str | None, event: gr.SelectData) -> dict[Any, Any]:
        result = _looked_at(now, looked_at)
        if result is None or int(event.index) not in range(len(result.after)):
            raise _gone()
        shown = _show(view, result, int(event.index))
        return {part: shown[part] for part in (view.slider, view.download)}

    shown = [view.slider, view.divider, view.colorings, view.download]
    shown += [hints.whole, hints.place, hints.lines, hints.save, hints.problem, hints.likely]
    view.photographs.select(photograph, [batch, hints.lines, said, owner], [*shown, chosen, said, owner, hints.undone])
    view.colorings.select(coloring, [batch, chosen], [view.slider, view.download])


def _sources(paths: list[str] | None) -> list[Path]:
    """Each photograph once: what has the same name and the same bytes has the same path."""
    sources = [Path(path) for path in dict.fromkeys(paths or [])]
    if len(sources) > _MOST_PHOTOGRAPHS:
        raise gr.Error(
            f"{len(sources)} photographs; the page takes {_MOST_PHOTOGRAPHS} at once, "
            "and `twotone colorize` takes folders of any size",
            duration=None,
            print_exception=False,
        )
    return sources


def _waiting(view: _View, count: int) -> dict[Any, Any]:
    """Until the first result; earlier downloads are withdrawn, since they are of other colors."""
    update: dict[Any, Any] = {
        view.status: _status(_TEXTS("coloring") + f" 0 / {count}" if count else _TEXTS("waiting")),
        view.download: gr.DownloadButton(value=None, interactive=False),
        view.archive: gr.DownloadButton(value=None, interactive=False, visible=count > 1),
    }
    return update if count else {**update, **_show(view, None), **_thumbnails(view, Batch()), **_said(view, [], [])}


def _progress(view: _View, now: Batch, count: int) -> dict[Any, Any]:
    finished = len(now.items) == count
    done = len(now.results) if finished else len(now.items)
    archive = str(now.archive) if now.archive else None
    return {
        view.status: _status(_TEXTS("colored" if finished else "coloring") + f" {done} / {count}"),
        view.archive: gr.DownloadButton(value=archive, interactive=archive is not None, visible=count > 1),
        **_thumbnails(view, now),
        **_said(view, now.problems, now.notes),
    }


def _thumbnails(view: _View, now: Batch) -> dict[Any, Any]:
    several = len(now.results) > 1
    pictures = [(str(result.after[0]), source.name) for source, result in now.results.items()]
    return {view.photographs: gr.Gallery(pictures if several else None, visible=several)}


def _show(view: _View, result: Result | None, number: int = 0) -> dict[Any, Any]:
    """One of a photograph's colorings."""
    several = result is not None and len(result.after) > 1
    return {
        view.slider: gr.ImageSlider(
            (str(result.before), str(result.after[number])) if result else None, visible=result is not None
        ),
        view.divider: gr.Slider(visible=result is not None),
        view.colorings: gr.Gallery([str(path) for path in result.after] if result and several else None,
                                   visible=several),
        view.download: gr.DownloadButton(value=str(result.full[number]) if result else None,
                                         interactive=result is not None),
    }  # fmt: skip


def _looked_at(now: Batch, chosen: str | None) -> Result | None:
    """Return the result of the chosen photograph, else that of the first."""
    results = now.results
    return results.get(Path(chosen or ""), next(iter(results.values()), None))


def _current(sources: Sequence[Path], chosen: str | None) -> str:
    """Return the photograph that is looked at: the chosen one, else the first."""
    return chosen if chosen and Path(chosen) in sources else str(sources[0])


def _hints_of(spoken: dict[str, str]) -> dict[Path, tuple[Hint, ...]]:
    found = {Path(path): parse(text)[0] for path, text in spoken.items()}
    return {path: hints for path, hints in found.items() if hints}


def _list(hints: HintParts, now: Batch, of: str | None, spoken: dict[str, str]) -> dict[Any, Any]:
    """Show what was said of a photograph, but for the lines themselves: somebody may be typing there."""
    result = now.results.get(Path(of or ""))
    if of is None or result is None:
        return {}
    found, problems = parse(spoken.get(of, ""))
    return {
        hints.place: str(marked(result.before, found)),
        hints.problem: said_wrong(problems),
    }


def _save(hints: HintParts, of: str | None, spoken: dict[str, str], folder: Path) -> dict[Any, Any]:
    """Offer what was said of a photograph as a file."""
    said = parse(spoken.get(of or "", ""))[0]
    return {hints.save: saved(Path(of or ""), said, folder)}


def _status(text: Any) -> str:
    return f'<p role="status">{text}</p>'


def _said(view: _View, problems: Sequence[str], notes: Sequence[str]) -> dict[Any, Any]:
    """Return the lists of what failed, and of what the colored copies have not."""
    html = ""
    for role, title, sentences in (("alert", "failed", problems), ("note", "notes", notes)):
        if sentences:
            lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
            html += f'<div role="{role}"><p>{_TEXTS(title)}</p><ul>{lines}</ul></div>'
    return {view.problems: gr.HTML(html, visible=bool(html))}


def _divide(percent: float) -> Any:
    return gr.ImageSlider(slider_position=percent)


def _gone() -> gr.Error:
    return gr.Error("That coloring has been deleted; send the photograph again.", print_exception=False)
