"""requirements.lock: it fits pyproject.toml, itself, and what uv resolves today.

A resolution moves: an index may bring a release late, under an early date. So a lock that is older than today's
resolution is right as long as it is consistent; what both name must be the same.
"""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.helpers import ROOT

COMMAND = re.search(r"uv export .*?(?=\n *```)", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.DOTALL)
Hashes = dict[tuple[str, str], set[str]]


def entries(lock: str) -> tuple[list[Requirement], Hashes]:
    """Its requirements, and by name and version their files' hashes."""
    requirements, hashes = [], {}
    for line in lock.replace("\\\n", " ").splitlines():
        requirement, *files = line.split("--hash=")
        requirements.append(Requirement(requirement))
        hashes[requirements[-1].name, str(requirements[-1].specifier)] = {file.strip() for file in files}
    return requirements, hashes


def here(requirements: list[Requirement]) -> dict[str, str]:
    """Name -> the version that the lock installs on this machine."""
    chosen = [r for r in requirements if r.marker is None or r.marker.evaluate()]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in chosen}


def needs(package: str, extras: frozenset[str]) -> list[Requirement]:
    """What an installed package requires on this machine."""
    found = [Requirement(text) for text in requires(package) or []]
    return [r for r in found if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in {"", *extras})]


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_every_package_has_its_hashes_and_no_address(lock: str) -> None:
    requirements, hashes = entries(lock)
    assert all(re.fullmatch(r"==[\w.+!]+", str(r.specifier)) for r in requirements)
    assert all(files for files in hashes.values())
    assert "://" not in lock


def test_what_uv_resolves_to_the_same_version_has_the_same_files(lock: str, tmp_path: Path) -> None:
    """uv.lock, which `uv run` makes, is the resolution."""
    assert COMMAND
    if not (ROOT / "uv.lock").exists():
        pytest.skip("uv run makes uv.lock, and this is another way to install")
    words = COMMAND[0].replace("\\\n", " ").replace("-o requirements.lock", f"-o {tmp_path / 'lock'}").split()
    subprocess.run([*words, "--frozen", "--offline", "--quiet"], cwd=ROOT, check=True)
    resolved, held = entries((tmp_path / "lock").read_text(encoding="utf-8"))[1], entries(lock)[1]
    assert held.keys() & resolved.keys()
    for package in held.keys() & resolved.keys():
        # A release may gain files, for another Python.
        assert held[package] <= resolved[package], package


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def test_the_lock_holds_all_that_its_packages_require(lock: str) -> None:
    """By pyproject.toml, and by the metadata of each package that is installed in the version of the lock."""
    assert COMMAND
    locked = here(entries(lock)[0])
    todo = [("twotone-colorizer", frozenset(re.findall(r"--extra ([\w-]+)", COMMAND[0])))]
    seen = set()
    while todo:
        seen.add(todo[-1])
        for requirement in needs(*todo.pop()):
            name = canonicalize_name(requirement.name)
            following = (name, frozenset(requirement.extras))
            if name != "twotone-colorizer":
                assert name in locked, requirement
                assert requirement.specifier.contains(locked[name], prereleases=True), (requirement, locked[name])
                if installed(name) != locked[name]:
                    continue
            if following not in seen:
                todo.append(following)
    assert len({name for name, _ in seen}) > 150
