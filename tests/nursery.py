"""Stages and commands in processes that need not import torch: a server with everything imported forks one for each.

What runs, and is killed, is a real process. `python tests/nursery.py` reads orders from stdin, a line of JSON each:
{"stage", "folder", "log", "fault", "env"} starts a stage and answers with its process number; {"wait": number} answers
with its exit status. A fault is Python code that runs in the new process before the stage. An order with "command", the
words after `twotone`, starts that instead; its errors go to "errors".
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def die(*_: object) -> None:
    """kill -9 of the process itself."""
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, when: Callable[..., Any] = lambda *_: True, act: Callable[[], object] = die) -> None:
    """Do something before each call of owner.name for which `when` holds."""
    original = getattr(owner, name)

    def wrapped(*given: Any, **named: Any) -> Any:
        if when(*given):
            act()
        return original(*given, **named)

    setattr(owner, name, wrapped)


def serve() -> None:
    # The modules of the folder that this runs in.
    sys.path.insert(0, os.getcwd())
    import fastai.vision.models.unet  # noqa: F401
    import onnx  # noqa: F401
    import timm  # noqa: F401
    import torch

    import stages.evaluate
    import stages.export
    import stages.finetune
    import stages.pretrain
    import stages.sample  # noqa: F401

    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        pid = os.fork()
        if not pid:
            run(order)
        print(pid, flush=True)


def run(order: dict[str, Any]) -> None:
    os.setsid()
    os.chdir(order["folder"])
    os.environ.update(order["env"])
    nothing, log = os.open(os.devnull, os.O_RDONLY), _opened(order["log"])
    os.dup2(nothing, 0), os.dup2(log, 1), os.dup2(_opened(order["errors"]) if "errors" in order else log, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status = 99
    try:
        if "command" in order:
            from pipeline import cli

            sys.argv = ["twotone", *order["command"]]
            cli.main()
        exec(order["fault"], globals())
        from stages.__main__ import main

        status = main([order["stage"]])
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)


def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


class Stage:
    """A stage that runs in a process of its own."""

    def __init__(self, nursery: Nursery, pid: int, log: Path):
        self._nursery, self.pid, self._log = nursery, pid, log

    def wait(self) -> subprocess.CompletedProcess[str]:
        status = int(self._nursery.ask({"wait": self.pid}))
        return subprocess.CompletedProcess([], status, self._log.read_text(encoding="utf-8"))


class Nursery:
    """Starts stages, with the modules of a folder."""

    def __init__(self, modules: Path, env: dict[str, str]):
        self._started = 0
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            cwd=modules,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "ready\n"

    def ask(self, order: dict[str, Any]) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()

    def start(self, folder: Path, stage: str, fault: str = "", env: dict[str, str] | None = None) -> Stage:
        self._started += 1
        log = folder / f"logs/process-{self._started}.txt"
        log.parent.mkdir(exist_ok=True)
        order = {"stage": stage, "folder": str(folder), "log": str(log), "fault": fault, "env": env or {}}
        return Stage(self, int(self.ask(order)), log)

    def run(self, folder: Path, stage: str, fault: str = "", env: dict[str, str] | None = None) -> str:
        """What the stage prints, when it has succeeded."""
        done = self.start(folder, stage, fault, env).wait()
        assert done.returncode == 0, done.stdout
        return done.stdout

    def command(self, folder: Path, words: tuple[str, ...], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run `twotone WORDS` to its end."""
        with tempfile.TemporaryDirectory() as place:
            log, errors = Path(place, "out"), Path(place, "err")
            order = {"folder": str(folder), "log": str(log), "errors": str(errors), "env": env, "command": words}
            status = int(self.ask({"wait": int(self.ask(order))}))
            said = [path.read_text(encoding="utf-8") for path in (log, errors)]
        return subprocess.CompletedProcess(["twotone", *words], status, *said)

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()


if __name__ == "__main__":
    serve()
