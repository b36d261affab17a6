"""A signal ends every command with a line and a shell's exit code, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator

import pytest
from unrolled import cli
from unrolled.apps.shell import commands
from unrolled.signals import Stopped, stopping

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _as_a_program_begins() -> Iterator[None]:
    """Handle signals as a program does that nobody began by `nohup`, whatever ran before."""
    before = [signal.signal(number, signal.SIG_DFL) for number in SIGNALS]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_that_is_asked_to_stop_clears_away_and_says_so(
    tmp_path, monkeypatch, capsys, number
):
    def work(name, words):
        with tempfile.TemporaryDirectory(dir=tmp_path):
            try:
                os.kill(os.getpid(), number)
            except Exception:  # readers of strangers' files take what is raised for their fault
                pytest.fail("taken for an error")
            pytest.fail("went on")

    monkeypatch.setattr(commands, "carry_out", work)
    before = [signal.getsignal(one) for one in SIGNALS]
    assert cli.main(["list"]) == 128 + number
    said = "interrupted" if number == signal.SIGINT else f"asked to stop ({number.name})"
    assert capsys.readouterr().err == f"\nunrolled: {said}\n"
    assert not list(tmp_path.iterdir())
    assert [signal.getsignal(one) for one in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_what_is_switched_off_or_handled_stays_so(number):
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with stopping():
            os.kill(os.getpid(), number)
        seen = []
        signal.signal(number, lambda *_: seen.append(number))
        with stopping():
            os.kill(os.getpid(), number)
        assert seen == [number]
    finally:
        signal.signal(number, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_ends_as_it_would_have():
    with stopping():
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
    with pytest.raises(Stopped, match="SIGHUP"), stopping():
        os.kill(os.getpid(), signal.SIGHUP)
