"""Commands and scripts in processes of their own, forked from one that has imported everything.

A new process takes seconds to import Lightning, a fork no time. To a run it makes no difference: it
may be killed, it has a session and, if asked for, a terminal of its own, and several are started
with what Lightning's launcher puts into the environment.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

HELPERS = Path(__file__).resolve().parent


class Fork:
    """A command or a script in a process of its own; a context that ends with it.

    Attributes:
        pid: Its process, which leads a session.
    """

    def __init__(self, forks: Forks, pid: int, err: Path) -> None:
        self.pid = pid
        self._forks, self._err = forks, err
        self._code: int | None = None

    def __enter__(self) -> Fork:
        return self

    def __exit__(self, *_: object) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            with suppress(ProcessLookupError):  # it hadn't begun
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()

    @property
    def err(self) -> str:
        """What it has written to standard error; a terminal's is not kept."""
        return self._err.read_text()

    def poll(self) -> int | None:
        """Return the exit code, that of a signal negative, or None while it runs."""
        if self._code is None:
            self._code = self._forks.ask(poll=self.pid)
        return self._code

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end and return the exit code."""
        assert self.wait_for(lambda: False, seconds), f"still running: {self.err}"
        return self._code

    def wait_for(self, done: Callable[[], bool], seconds: float = 120) -> bool:
        """Wait until something is done or the process has ended; False if neither comes."""
        until = time.monotonic() + seconds
        while not done() and self.poll() is None:
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True


class Forks:
    """The process that forks; a context.

    Args:
        folder: An empty folder for what its forks write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()

    def __enter__(self) -> Forks:
        paths = os.pathsep.join(filter(None, (str(HELPERS), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        # The end of its input would not do: other children of the tests may hold that open.
        with self._process:
            self._process.terminate()

    def ask(self, **request: Any) -> Any:
        """Send a request to the process and return its answer."""
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self,
        folder: Path,
        arguments: list[str],
        *,
        terminal: str = "",
        out: Path | None = None,
        **environment: str,
    ) -> Fork:
        """Start a command of `unrolled` or a script.

        Args:
            folder: The working folder.
            arguments: What follows `unrolled`, or the path of a script and what follows it.
            terminal: The terminal that it has for its own; without one its input is empty, and its
                output goes to files.
            out: The file for standard output; that of standard error if it is None.
            environment: Added to that of the tests' beginning.
        """
        number = next(self._numbers)
        err = self._folder / f"{number}.err"
        err.touch()
        places = [terminal] * 3 if terminal else [os.devnull, str(out or err), str(err)]
        pid = self.ask(
            folder=str(folder), arguments=arguments, places=places, environment=environment
        )
        return Fork(self, pid, err)

    def run(
        self, folder: Path, arguments: list[str], processes: int = 1, **environment: str
    ) -> int:
        """Run a command of `unrolled` or a script to its end; what it says is shown.

        Args:
            folder: The working folder.
            arguments: As those of `start`.
            processes: How many run it together.
            environment: Added to that of each.

        Returns:
            The exit code of the first process that failed, or 0; that of a signal is negative.
        """
        ranks = [dict(environment) for _ in range(processes)]
        if processes > 1:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            common = {"NODE_RANK": "0", "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
            for rank, settings in enumerate(ranks):
                settings |= {**common, "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
        running = [self.start(folder, arguments, **settings) for settings in ranks]
        codes = [fork.wait(960) for fork in running]
        for fork in running:
            sys.stderr.write(fork.err)
        return next((code for code in codes if code), 0)


def _serve() -> None:
    """Answer requests: for the process of a new fork, or for the exit code of one."""
    from importlib import import_module

    from unrolled.apps.shell.source import modules_in

    gc.disable()  # it would look through all that is imported, again and again
    for folder in ("core", "data", "tasks", "apps"):
        for module in modules_in(folder):
            with suppress(ModuleNotFoundError):  # of an extra that is not installed
                import_module(module)
    gc.freeze()  # or a fork's first collection copies everything
    gc.enable()
    from unrolled.apps.tracking import screens

    screens.draw_curves = lambda folder: None  # as in conftest.py
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif not (answer := os.fork()):
            code = 1
            try:
                code = _be(**request)
                sys.stdout.flush()
            except BaseException:
                traceback.print_exc()
            os._exit(code)  # without the seconds in which an interpreter tidies up
        print(json.dumps(answer), flush=True)


def _be(folder: str, arguments: list[str], places: list[str], environment: dict[str, str]) -> int:
    """Be a new process that runs `python -m unrolled`, or a script."""
    from contextlib import nullcontext
    from importlib.util import find_spec
    from runpy import run_path

    from chains import moments_of_rank, watched
    from unrolled.cli import main

    import __main__

    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background has it ignored
    signal.alarm(900)  # what hangs is killed; a busy machine is slow
    for number, place in enumerate(places):  # the first terminal that is opened is the session's
        flags = os.O_RDWR if place == places[0] else os.O_WRONLY | os.O_APPEND | os.O_CREAT
        os.dup2(os.open(place, flags, 0o600), number)
    os.chdir(folder)
    os.environ.update(environment)
    if arguments[0].endswith(".py"):
        sys.argv = arguments
        run_path(arguments[0], run_name="__main__")
        return 0
    __main__.__spec__ = find_spec("unrolled.__main__")  # what Lightning's launcher starts
    sys.argv = ["unrolled", *arguments]
    watch = watched(moments_of_rank(environment)) if "MOMENTS" in environment else nullcontext()
    with watch:
        return main(arguments)


if __name__ == "__main__":
    _serve()
