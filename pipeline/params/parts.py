"""Parts of one's own: a loss, a schedule or a source that params.yaml names as module:function."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.errors import ParamsError

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_part(name: str) -> bool:
    """Whether a name is written as module:function."""
    return bool(_NAME.fullmatch(name))


def load_part(key: str, name: str, *arguments: str) -> Callable[..., Any]:
    """Import a part.

    Args:
        key: of params.yaml, that names it.
        name: module:function. The module lies in the project, as parts.FILE, or in an installed package.
        arguments: what it will be called with.

    Raises:
        ParamsError: it cannot be imported, is no function, or takes something else.
    """
    module_name, _, function = name.partition(":")
    module = _imported(key, name, module_name)
    found: Any = getattr(module, function, None)
    if not callable(found):
        others = [one for one, value in vars(module).items() if inspect.isfunction(value)]
        listed = f"; it has {', '.join(others)}" if others else ""
        place = getattr(module, "__file__", None) or module_name
        raise ParamsError(f"{key}: {name}: {place} has no function {function}{listed}")
    try:
        inspect.signature(found).bind(*arguments)
    except TypeError:
        takes = f"it takes {inspect.signature(found)}"
        raise ParamsError(f"{key}: {name} is called with ({', '.join(arguments)}), and {takes}") from None
    except ValueError:
        pass  # a function in C that does not say what it takes
    return found  # type: ignore[no-any-return]


def part_files(key: str, names: Iterable[str]) -> tuple[Path, ...]:
    """Return the Python files of those names that are parts: a training is known by its code.

    They are the modules that are named, and those of the same package that have been imported: what a part in parts/
    imports from there counts, and another file of parts/ does not.

    Raises:
        ParamsError: a module cannot be imported.
    """
    own = [name for name in names if is_part(name)]
    packages = {_imported(key, name, name.partition(":")[0]).__name__.partition(".")[0] for name in own}
    files = {
        getattr(module, "__file__", None) or ""
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in packages
    }
    return tuple(Path(file) for file in sorted(files) if file.endswith(".py"))


def _imported(key: str, name: str, module: str) -> ModuleType:
    if str(Path.cwd()) not in sys.path:  # `python -m` puts it there, an installed command does not
        sys.path.insert(0, str(Path.cwd()))
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ParamsError(
            f"{key}: {name}: there is no module {error.name}; parts.FILE is in parts/, and any other in an installed "
            "package"
        ) from None
    except Exception as error:  # what somebody else's module may raise is anything
        raise ParamsError(f"{key}: {name}: importing {module} fails: {type(error).__name__}: {error}") from None
