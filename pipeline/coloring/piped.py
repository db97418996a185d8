"""`twotone colorize -`: color one photograph from standard input to standard output, or to a file."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from pipeline.coloring.color_picture import advised, color_picture
from pipeline.coloring.colorize import load_for
from pipeline.coloring.jobs import Naming, Selection, require_format, require_one_format, require_output
from pipeline.coloring.one_file import SMOOTHING, BatchOptions, with_hints_of
from pipeline.errors import ImageError, InputError, LimitError
from pipeline.files import write_whole
from pipeline.inference.colorizer import Colorizer
from pipeline.media.decoding import largest_file
from pipeline.media.pictures import decode_picture
from pipeline.media.writing import JPEG_QUALITY, WRITABLE, copy_ending

STANDARD_INPUT = "-"
_EXAMPLE = "twotone colorize - < street.jpg > street-color.jpg"


def color_piped(model: Path | None, options: BatchOptions) -> int:
    """Color the photograph that standard input is. All that is said goes to stderr.

    The result has the format of the photograph, or that of --format or of the file that --out names.

    Returns:
        The exit status.

    Raises:
        InputError: an option is for files, or a terminal is at one of the ends.
        ModelError: there is no model.
        ImageError: standard input is no photograph that can be colored.
    """
    out = options.naming.out
    _require_one_picture(options.naming)
    if options.dry_run:
        raise InputError("--dry-run is for files, and standard input is one photograph that becomes one picture")
    if out and out.exists() and not options.overwrite:
        print(f"kept, because it was there already: {out}; --overwrite replaces it", file=sys.stderr)
        return 0
    if not out and sys.__stdout__ is None:
        raise InputError(f"standard output is closed; send it to a file, such as {_EXAMPLE}, or name one with -o")
    if not out and sys.stdout.isatty():
        raise InputError(f"standard output is a terminal; send it to a file, such as {_EXAMPLE}, or name one with -o")
    if sys.stdin.isatty():
        raise InputError(f"standard input is a terminal; send a photograph, such as {_EXAMPLE}")
    _, colorizer, origin = load_for(model, options, Selection())
    if out:
        require_output(options.naming, [])
    try:
        content, said = _colored(_standard_input(options.max_pixels), colorizer, replace(options, origin=origin))
    except ImageError as error:
        raise ImageError(f"standard input: {advised(error)}") from None
    if out:
        write_whole(out, content)
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    print(f"standard input -> {out or 'standard output'}: {said}", file=sys.stderr)
    return 0


def _standard_input(max_pixels: int) -> bytes:
    largest = largest_file(max_pixels)
    content = sys.stdin.buffer.read(largest + 1)
    if not content:
        raise ImageError("empty")
    if len(content) > largest:
        raise LimitError("too many bytes: more than {most} need", max_pixels)
    return content


def _colored(content: bytes, colorizer: Colorizer, options: BatchOptions) -> tuple[bytes, str]:
    """Return the colored file, and what to say of it."""
    picture = decode_picture(content, options.max_pixels, damaged=options.damaged)
    kind = WRITABLE[_ending(options.naming, picture.format)]
    coloring, origin, said = with_hints_of(Path(STANDARD_INPUT), replace(options, look_for_hints=False), picture.pixels)
    colored = color_picture(picture, colorizer, coloring, kind, origin, options.jpeg_quality)
    height, width = picture.pixels.shape[:2]
    notes = [*said]
    notes += [f"{picture.format} is written as {kind}"] if picture.format != kind else []
    notes += ["--jpeg-quality is for a JPEG"] if options.jpeg_quality != JPEG_QUALITY and kind != "JPEG" else []
    notes += ["--smoothing is for films"] if options.smoothing != SMOOTHING else []
    return colored.content, "; ".join([f"{width}x{height}", *notes, *colored.notes])


def _require_one_picture(naming: Naming) -> None:
    require_format(naming)
    for option, given in (
        ("--samples", len(naming.seeds) > 1),
        ("--compare", naming.compare),
        ("--shard", naming.shard != (1, 1)),
    ):
        if given:
            raise InputError(f"{option} is for files, and standard input is one photograph that becomes one picture")
    if naming.out and (naming.out.suffix[1:].lower() not in WRITABLE or naming.out.is_dir()):
        endings = ", ".join(f".{ending}" for ending in WRITABLE)
        raise InputError(f"--out {naming.out}: standard input has no name; name a file in {endings}")
    if naming.out:
        require_one_format(naming.out, naming)


def _ending(naming: Naming, format: str) -> str:
    if naming.out:
        return naming.out.suffix[1:].lower()
    # What Pillow calls a JPEG that holds several pictures, and HEIC.
    return naming.ending or copy_ending({"MPO": "jpg", "HEIF": "heic"}.get(format, format))
