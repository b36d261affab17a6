"""The command line: `unrolled COMMAND ...`, and the same under the name `lightning`."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from signal import SIGINT

from .apps.run import commands as trainer
from .apps.run.folder.disk import FULL, reason_of
from .apps.run.request import COMMANDS
from .apps.shell import commands
from .apps.shell.help import main_help
from .apps.shell.messages import memory_full, not_importable, readable_warnings
from .apps.shell.shipped import tasks
from .errors import SetupError, UnrolledError, UsageError, did_you_mean, printable
from .signals import Stopped, stopping


def main(args: Sequence[str] | None = None) -> int:
    """Carry out a command and return its exit code.

    0 done, 1 an error of the program or of a run, 2 usage, 3 data, 4 environment, 129 terminal
    closed (SIGHUP), 130 interrupted (Ctrl-C), 143 asked to stop (SIGTERM).

    Args:
        args: The words after the program's name; None for those of this process.
    """
    return _guarded("unrolled", args, _dispatch)


def entry() -> None:
    """Be the console script `unrolled`."""
    sys.exit(main())


def lightning_entry() -> None:
    """Be the console script `lightning`: what is no command of the trainer is lightning-sdk's."""
    sys.exit(_guarded("lightning", None, _dispatch_lightning))


def _guarded(
    program: str, args: Sequence[str] | None, dispatch: Callable[[list[str], bool], int]
) -> int:
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        with stopping(), readable_warnings(debug):
            return dispatch(words, debug)
    except UnrolledError as error:
        if debug:
            traceback.print_exc()
        kind = "" if error.exit_code > 128 else "error: "  # it was asked to stop
        _say(f"{program}: {kind}{printable(str(error))}")
        return error.exit_code
    except KeyboardInterrupt:
        _say(f"\n{program}: interrupted")
        return 130
    except Stopped as stopped:
        said = "interrupted" if stopped.number == SIGINT else str(stopped)
        _say(f"\n{program}: {said}")
        return stopped.exit_code
    except BrokenPipeError:
        # the reader (`| head`) has had enough; Python would complain once more when it closes
        # standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, PermissionError) or getattr(error, "errno", None) in FULL:
            place = getattr(error, "filename", None) or "a file of the output"
            _say(f"{program}: error: {printable(str(place))}: {reason_of(error)}")
            return SetupError.exit_code
        if known := memory_full(error) or not_importable(error):
            _say(f"{program}: error: {printable(known)}")
            return SetupError.exit_code
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        hint = "" if debug else f"\n{program}: --debug shows where it happened"
        _say(f"{program}: error: {kind}{printable(str(error))}{hint}")
        return 1


def _say(text: str) -> None:
    # Where a full disk or a closed terminal takes no more, the exit code is left.
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def _dispatch(words: list[str], debug: bool) -> int:
    command = words[0] if words else None
    if command in ("--version", "-V"):
        from . import __version__

        print(f"unrolled {__version__}")
        return 0
    if command in COMMANDS:
        return trainer.carry_out("unrolled", words[0], words[1:], debug=debug)
    if command in ("--print_completion", "--complete"):
        return _complete(words)
    if command in commands.files():
        return commands.carry_out(words[0], words[1:])
    found = {**COMMANDS, **commands.summaries()}
    if command in (None, "-h", "--help", "help"):
        print(main_help(found))
        return 0 if words else 2
    near = did_you_mean(words[0], found)
    if words[0].partition("/")[0] in tasks():
        near = f" Did you mean 'unrolled fit {command}'?"
    raise UsageError(
        f"There is no command '{command}'.{near}\nThe commands are: {', '.join(found)}."
    )


def _complete(words: list[str]) -> int:
    """Print what a shell reads once, or what it asks at each press of the tabulator."""
    from .apps.shell.completion import candidates, script

    if words[0] == "--complete":
        with suppress(UnrolledError):  # the command itself will say what is wrong
            print("\n".join(candidates(words[1:])))
        return 0
    print(script(words[1] if len(words) > 1 else ""), end="")
    return 0


def _dispatch_lightning(words: list[str], debug: bool) -> int:
    if words and words[0] in COMMANDS:
        return trainer.carry_out("lightning", words[0], words[1:], debug=debug)
    from importlib import metadata

    for script in metadata.entry_points(group="console_scripts", name="lightning"):
        owner = script.dist.name.replace("_", "-").lower() if script.dist else ""
        if owner == "lightning-sdk":
            return int(script.load()() or 0)
    if not words or words[0] in ("-h", "--help"):
        print(main_help(COMMANDS, "lightning"))
        return 0 if words else 2
    near = did_you_mean(words[0], COMMANDS)
    raise UsageError(
        f"There is no command 'lightning {words[0]}'.{near}\nHere are: {', '.join(COMMANDS)}. "
        "Others are lightning-sdk's, which is not installed."
    )
