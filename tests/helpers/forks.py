"""Runs in processes of their own, forked from one that has imported everything.

A new process takes seconds to import Lightning, a fork no time. To a run it makes no difference: it
may be killed, and several are started with what Lightning's launcher puts into the environment.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

HELPERS = Path(__file__).resolve().parent


class Forks:
    """The process that forks; a context."""

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
        self._process.communicate()  # it ends with its input

    def run(
        self, folder: Path, arguments: list[str], processes: int = 1, **environment: str
    ) -> int:
        """Run a command of `unrolled`.

        Args:
            folder: The working folder.
            arguments: What follows `unrolled`.
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
        request = {"folder": str(folder), "arguments": arguments, "ranks": ranks}
        self._process.stdin.write(f"{json.dumps(request)}\n")
        self._process.stdin.flush()
        codes = json.loads(self._process.stdout.readline())
        return next((code for code in codes if code), 0)


def _serve() -> None:
    from contextlib import nullcontext
    from importlib import import_module

    from chains import moments_of_rank, watched
    from unrolled.apps.shell.source import classes_in
    from unrolled.cli import main

    for folder in ("core", "data", "tasks", "apps"):
        for source in classes_in(folder).values():
            import_module(source.module)
    for line in sys.stdin:
        request = json.loads(line)
        children = []
        for environment in request["ranks"]:
            if child := os.fork():
                children.append(child)
                continue
            signal.alarm(900)  # what hangs is killed; a busy machine is slow
            os.dup2(2, 1)  # the answers are the parent's
            os.chdir(request["folder"])
            os.environ.update(environment)
            code = 1
            die = (
                watched(moments_of_rank(environment)) if "MOMENTS" in environment else nullcontext()
            )
            try:
                with die:
                    code = main(request["arguments"])
            finally:
                sys.stdout.flush()
                os._exit(code)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    _serve()
