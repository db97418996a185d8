"""Parts of one's own: losses, networks, metrics and the like, named as module:function or by an entry point."""

from __future__ import annotations

import ast
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import WithJsonSchema

from pipeline.errors import ParamsError

# The folder of a project for parts of its own.
OWN = "parts"
# What .dvcignore names, too.
_LEFT = (".pyc", ".nbi", ".nbc", ".swp", "~", "Thumbs.db", "desktop.ini")
_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
Kind = Literal["losses", "schedules", "sources", "metrics", "generators", "discriminators"]
# Named by model.json, too, which may be somebody else's: it must not choose among all functions of this machine.
_NETWORKS = ("generators", "discriminators")


def listed(known: tuple[str, ...], own: str = "module:function") -> WithJsonSchema:
    """Return what a schema says of a key that takes these names, or a part of one's own."""
    return WithJsonSchema({"enum": [*known, own]})


def known_or_own(kind: Kind, known: tuple[str, ...], value: str) -> str:
    """Return the value, which is a name of this project's or a part of one's own.

    Raises:
        ValueError: it is neither.
    """
    if value in known or find_part(kind, value):
        return value
    names = ", ".join(map(repr, known))
    if kind in _NETWORKS:
        raise ValueError(f"must be {names}, {OWN}.FILE:function, or what a package offers in the group twotone.{kind}")
    raise ValueError(f"must be {f'{names} or ' if known else ''}module:function of a part of your own")


def where(error: Exception, function: Callable[..., Any]) -> str:
    """Return what somebody's own function raised, and the last line of its file that had a part in it."""
    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    place = next((frame for frame in reversed(frames) if frame.filename == file), frames[-1])
    return f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"


def find_part(kind: Kind, name: str) -> str:
    """Return a part as module:function; "" for a name that is neither that nor an entry point of a package.

    A network is module:function in parts/ alone.

    Args:
        kind: packages offer their parts in the groups twotone.losses, twotone.schedules, ...
    """
    if _NAME.fullmatch(name):
        return name if kind not in _NETWORKS or name.startswith(f"{OWN}.") else ""
    return next((found.value for found in entry_points(group=f"twotone.{kind}", name=name)), "")


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
    _require_watched(key, name, module)
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


def part_files(key: str, parts: Iterable[str]) -> tuple[Path, ...]:
    """Return the files of parts, each module:function: a training is known by its code.

    They are the modules that are named, and those of the same package that have been imported or that an import of
    theirs names, in a function, too. What a part in parts/ imports from there counts, and another module of parts/ does
    not. Of files that are no Python, such as a table of numbers, all in parts/ count: any part may read them.

    Raises:
        ParamsError: a module cannot be imported.
    """
    found: set[Path] = set()
    for name in parts:
        package = import_module(_imported(key, name, name.partition(":")[0]).__name__.partition(".")[0])
        loaded = [one for one in sys.modules if one.partition(".")[0] == package.__name__]
        found |= _reached(package, loaded)
        if package.__name__ == OWN:
            found |= {file for folder in package.__path__ for file in other_files(Path(folder))}
    return tuple(sorted(found))


def other_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that are no Python, and not what editors, file managers and caches leave."""
    for file in folder.rglob("*"):
        left = file.name.startswith(".") or file.name.endswith(_LEFT) or file.name in _LEFT
        if file.is_file() and file.suffix != ".py" and not left:
            yield file


def _reached(package: ModuleType, modules: Iterable[str]) -> set[Path]:
    """Return the files of modules of a package, and of all modules of it that an import in these names."""
    waiting, known, files = list(modules), set(modules), set()
    while waiting:
        module = waiting.pop()
        file = _file(package, module)
        if file is None:
            continue
        files.add(file)
        # A module brings the packages that it is in.
        named = [name.split(".") for name in _imports(file, module)]
        within = {
            ".".join(name[:end]) for name in named if name[0] == package.__name__ for end in range(1, len(name) + 1)
        }
        within -= known
        known |= within
        waiting += sorted(within)
    return files


def _file(package: ModuleType, module: str) -> Path | None:
    """Return where a module of a package lies; None for a name that is none, such as that of a function."""
    if module in sys.modules:
        found = Path(getattr(sys.modules[module], "__file__", None) or "")
        return found if found.suffix == ".py" else None
    places = [Path(root).joinpath(*module.split(".")[1:]) for root in getattr(package, "__path__", [])]
    files = [file for place in places for file in (place.with_suffix(".py"), place / "__init__.py")]
    return next((file for file in files if file.is_file()), None)


def _imports(file: Path, module: str) -> Iterator[str]:
    """Yield the full names that the imports in a file may mean."""
    own = module if file.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # it could not be imported, either
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (own or not node.level):
            try:
                base = resolve_name("." * node.level + (node.module or ""), own) if node.level else node.module or ""
            except ImportError:  # beyond the package, as for a checker of types alone
                continue
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _require_watched(key: str, name: str, module: ModuleType) -> None:
    """Refuse a module of the project that lies where DVC does not notice a change of it.

    Raises:
        ParamsError: it does.
    """
    named = getattr(module, "__file__", None)
    if named is None or Path(named).absolute().is_relative_to(Path.cwd() / OWN):
        return  # a module without a file has no function, either, which is said then
    file, project = Path(named).resolve(), Path.cwd().resolve()
    installed = any(file.is_relative_to(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix))
    if installed or not file.is_relative_to(project):
        return
    place = file.relative_to(project)
    raise ParamsError(
        f"{key}: {name}: {place} is not in {OWN}/, so DVC would not notice a change of it; move it there, and name it "
        f"{OWN}.{file.stem}:{name.partition(':')[2]}"
    )


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
