"""What a shell offers at a press of the tabulator: asked in this process, and in real shells."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest
from unrolled.apps.run.request import COMMANDS
from unrolled.apps.shell.commands import summaries
from unrolled.apps.shell.completion import SCRIPTS, candidates
from unrolled.apps.shell.shipped import tasks
from unrolled.cli import main

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_every_command_is_offered():
    assert {*COMMANDS, *summaries()} < set(candidates([""]))
    assert candidates(["va"]) == ["validate"]


@pytest.mark.parametrize("command", [*COMMANDS, *summaries()])
def test_flags_of_every_command(command):
    task = ["char_lm"] if command in (*COMMANDS, "check") else []
    word = ["attention"] if command == "plot" else []
    found = candidates([command, *task, *word, "--"])
    assert all(flag.startswith("--") for flag in found)
    assert "--help" in found
    assert candidates([command, *task, *word, "--hel"]) == ["--help"]


@pytest.mark.parametrize(
    ("words", "some"),
    [
        ("fit ", set(tasks())),
        ("fit char_lm/h", {"char_lm/hello"}),
        ("validate tr", {"translation", "translation/multi30k"}),
        ("check video/", {"video/files"}),
        ("fit char_lm --data.b", {"--data.batch_size"}),
        ("fit char_lm --re", {"--resume"}),
        ("test video --resu", {"--results"}),
        ("fit char_lm --model.core Mi", {"MinGRU", "MinLSTM"}),
        ("fit translation --model.encoder Bi", {"Bidirectional"}),
        ("fit video --config trainer/f", {"trainer/fsdp"}),
        ("generate --to", {"--top_k", "--top_p"}),
        ("plot sur", {"surprise"}),
        ("plot curves --o", {"--out"}),
        ("list c", {"cores"}),
        ("cp char_lm/te", {"char_lm/text"}),
        ("--print_completion z", {"zsh"}),
    ],
)
def test_words_and_values(words, some):
    found = candidates(words.split(" "))
    assert some <= set(found)
    assert all(word.startswith(words.split(" ")[-1]) for word in found)


@pytest.mark.parametrize("words", ["fit my", "info ru", "fit char_lm --data.path in", "what ever"])
def test_files_are_the_shells(words):
    assert candidates(words.split(" ")) == []


def test_asking_imports_nothing_heavy_and_never_fails(capsys):
    code = (
        "import sys; from unrolled.cli import main\n"
        "assert main(['--complete', 'fit', 'char_lm', '--model.co']) == 0\n"
        "assert not {'torch', 'lightning', 'jsonargparse'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--model.core" in done.stdout.splitlines()
    assert main(["--complete", "fit", "no/such/task", "--"]) == 0
    assert capsys.readouterr().err == ""


def test_another_shell_is_refused(capsys):
    assert main(["--print_completion", "fsh"]) == 2
    assert "Did you mean 'fish'?" in capsys.readouterr().err


class Terminal:
    """A shell that believes that somebody types."""

    def __init__(self, command: list[str], folder, path: str) -> None:
        self.master, slave = pty.openpty()
        environment = {
            **os.environ,
            "PATH": path,
            "TERM": "xterm",
            "HOME": str(folder),
            "PS1": "> ",
        }
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.seen = ""

    def type(self, keys: str, until: str) -> str:
        """Type, wait for a text behind what was seen, and return what came."""
        os.write(self.master, keys.encode())
        end, came = time.monotonic() + 120, ""
        while until not in came:
            assert time.monotonic() < end, came
            if select.select([self.master], [], [], 1)[0]:
                came += os.read(self.master, 4096).decode(errors="replace")
                came = ESCAPE.sub("", came)
        return came

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def folder(tmp_path):
    """A folder with the program, which is found there, and a file of somebody's."""
    folder = tmp_path / "with a space"
    folder.mkdir()
    (folder / "my_corpus.txt").touch()
    program = folder / "unrolled"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m unrolled "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("shell", "command"),
    [("bash", ["bash", "--norc", "--noprofile", "-i"]), ("zsh", ["zsh", "-f", "-i"])],
)
def test_real_shell_completes(shell, command, folder):
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    terminal = Terminal(command, folder, f"{folder}{os.pathsep}{os.environ['PATH']}")
    try:
        terminal.type(f'eval "$(unrolled --print_completion {shell})"; echo re""ady\n', "ready")
        terminal.type("unrolled transl\t", "translate ")
        terminal.type("\x15unrolled fit char_lm/hel\t", "char_lm/hello ")
        terminal.type("\x15unrolled fit char_lm --data.path my_c\t", "my_corpus.txt ")
        terminal.type("--model.core Mogr\t", "MogrifierLSTM ")
    finally:
        terminal.close()


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_real_fish_completes(folder):
    """fish says what it would offer, without anybody typing."""
    lines = {
        "unrolled transl": "translate",
        "unrolled fit char_lm/hel": "char_lm/hello",
        "unrolled fit char_lm --data.path my_c": "my_corpus.txt",
        "unrolled fit char_lm --model.core Mogr": "MogrifierLSTM",
    }
    asked = "".join(f"; complete -C '{line}'" for line in lines)
    done = subprocess.run(
        ["fish", "--no-config", "-c", 'eval "$(unrolled --print_completion fish)"' + asked],
        cwd=folder,
        env={**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"} | {"HOME": folder},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == list(lines.values())


@pytest.mark.parametrize("shell", SCRIPTS)
def test_script_is_understood(shell):
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    subprocess.run([shell, "-n"], input=SCRIPTS[shell], text=True, check=True)
