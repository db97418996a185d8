"""Every error that this project raises on purpose, and the one place where they end: a sentence and an exit status."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable


class TwotoneError(Exception):
    """The message is for the user: what is wrong, what was found, what is allowed, what to do."""

    status = 1
    """Exit status of the stage or command that it ends: 2 where what the user asked for cannot be done at all."""


class ParamsError(TwotoneError, ValueError):
    """params.yaml or a recipe is not valid."""

    status = 2


class InputError(TwotoneError):
    """What the command line names cannot be used."""

    status = 2


class ModelError(TwotoneError):
    """A folder or file holds no model that this version can load."""

    status = 2


class DialError(ModelError):
    """A model has no dial between its faithful and its vivid generator."""


class SourceError(TwotoneError):
    """The source of photographs is missing or malformed, or has too few of them."""


class ImageError(TwotoneError):
    """A file is no photograph that this project decodes, or a format cannot hold the picture."""


class CutOffError(ImageError):
    """A file is cut off or damaged, and a part of it can be decoded by who asks for that."""


class ProportionsError(ImageError, ValueError):
    """A picture is too long for the network."""


class HintError(TwotoneError, ValueError):
    """Hints of a photograph that mean nothing on it, or a file of them that cannot be read."""

    status = 2


class VideoError(TwotoneError):
    """A file is no film that this project decodes."""


class LimitError(ImageError, VideoError):
    """A picture, a frame or a file is larger than is allowed.

    Args:
        sentence: what was found, with {most} where the allowed number belongs.
    """

    def __init__(self, sentence: str, most: int):
        super().__init__(sentence.format(most=most))
        self._sentence, self._most = sentence, most

    def __reduce__(self) -> tuple[type[LimitError], tuple[str, int]]:
        return type(self), (self._sentence, self._most)

    def naming(self, setting: str) -> str:
        """Return the sentence with the name of what sets the limit."""
        return self._sentence.format(most=f"{setting} {self._most}")


class SampleError(TwotoneError):
    """What the sample stage publishes is absent, incomplete or damaged."""


class BackboneError(TwotoneError):
    """A timm model cannot be the encoder of a U-Net."""

    def __init__(self, name: str, reason: str, similar: list[str]):
        self.reason = f"cannot be the encoder of a U-Net: {reason}"
        super().__init__(f"generator.backbone {name!r} {self.reason}; similar ones that can: {', '.join(similar)}")


class WeightsError(TwotoneError):
    """Pretrained weights are missing, cannot be fetched, or do not fit."""


class DeviceError(TwotoneError):
    """The device, the precision or a tracker is not available on this machine."""


class LockError(TwotoneError):
    """Another process holds the lock."""


class SavedStateError(TwotoneError):
    """The saved state of a training cannot be used."""


class TrainingError(TwotoneError):
    """Training cannot go on."""


class PeerError(TwotoneError):
    """Another process of this training has ended, so that this one cannot go on; the other one's error is the cause."""

    status = 75
    """EX_TEMPFAIL of sysexits.h; `launch` tells by it who has failed and who has only noticed."""


class StoppedError(TwotoneError):
    """A signal asked the stage to stop, and its state is saved."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class ExportError(TwotoneError):
    """The exported network does not compute what the trained one does."""


class PageError(TwotoneError):
    """The web page cannot be served."""


class ColoringError(TwotoneError):
    """A photograph that was sent to the page could not be colored."""


def missing_extra(what: str, extra: str) -> str:
    """Return the sentence about an optional package. The project is in no package index: the name there is
    another's.
    """
    return (
        f'{what}; install the extra {extra}: in the folder of this project type `pip install ".[{extra}]"`, '
        f"or `uv sync --extra {extra}` where uv has made the environment"
    )


def exit_status(work: Callable[[], int | None], what: str) -> int:
    """Run a stage or a command; print what it raises as one sentence on stderr. Only bugs end in a traceback.

    Args:
        work: gives an exit status, or None for 0.
        what: "the stage" or "the command", for the sentence about a full disk.

    Returns:
        The exit status: that of the work, the error's own, 130 after Ctrl-C, 141 where nobody reads the output.
    """
    _open_closed()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The names of files need not be of any encoding.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = work() or 0
        # A full disk or a closed pipe may show only when the last line is written.
        sys.stdout.flush()
        return status
    except TwotoneError as error:
        return _say(str(error), error.status)
    except KeyboardInterrupt:
        return _say("stopped by Ctrl-C", 130)
    except BrokenPipeError:
        # Otherwise Python would complain when it flushes the output at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        return _say(f"not enough memory; {what} is not complete", 1)
    except OSError as error:
        return _say(f"{error.filename or 'output'}: {error.strerror or error}; {what} is not complete", 1)


def _open_closed() -> None:
    """Open what cron and service managers may have closed: to nobody, as `sys.__stdin__` and the others still say.

    Otherwise the next file that is opened would be standard output.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="backslashreplace"))  # noqa: SIM115


def _say(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status
