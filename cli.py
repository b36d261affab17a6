"""The command line: `unrolled COMMAND ...`, and the same under the name `lightning`."""

from __future__ import annotations

import inspect
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .apps import help as help_texts
from .apps import listing
from .apps.run import request, shipped
from .errors import UnrolledError, UsageError, did_you_mean, printable

TRAINER_COMMANDS = ("fit", "validate", "test", "predict")

# What Lightning and torch warn about and nobody who uses this suite can or need change.
_IGNORED = (
    # training's own, in validate and test
    r".*callbacks used to create the checkpoint need to be provided.*",
    # streams are cut from memory: workers cost more than they give
    r".*does not have many workers.*",
    r".*Checkpoint directory .* exists and is not empty.*",  # a resumed run's folder
    # the same; our logger keeps the old table
    r".*Experiment logs directory .* exists and is not empty.*",
    r".*all_gather is deprecated.*",  # Lightning's own use of torch
    r".*The number of training batches .* is smaller than the logging interval.*",  # small texts
    r".*GPU available but not used.*",  # asked for by --trainer.accelerator cpu
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",  # Lightning's own use of torch
    r".*Starting from v1\.9\.0, `tensorboardX` has been removed.*",  # tensorboard is a dependency
)


def main(args: Sequence[str] | None = None) -> int:
    """Carry out a command and return its exit code.

    0 done, 1 an error of the program or of a run, 2 usage, 3 data, 4 environment, 130 interrupted,
    143 pre-empted.

    Args:
        args: The words after the program's name; None for those of this process.
    """
    return _guarded("unrolled", args, _dispatch)


def entry() -> None:
    """The console script `unrolled`."""
    sys.exit(main())


def lightning_entry() -> None:
    """The console script `lightning`: the trainer's commands are ours, any other word is lightning-sdk's."""
    sys.exit(_guarded("lightning", None, _dispatch_lightning))


def _guarded(
    program: str, args: Sequence[str] | None, dispatch: Callable[[str, list[str], bool], int]
) -> int:
    words = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        with _readable_warnings(debug):
            return dispatch(program, words, debug)
    except UnrolledError as error:
        if debug:
            traceback.print_exc()
        kind = "" if error.exit_code == 143 else "error: "
        print(f"{program}: {kind}{printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted", file=sys.stderr)
        return 130
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
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        hint = "" if debug else f"\n{program}: --debug shows where it happened"
        print(f"{program}: error: {kind}{printable(str(error))}{hint}", file=sys.stderr)
        return 1


@contextmanager
def _readable_warnings(debug: bool) -> Iterator[None]:
    """Show warnings as a line each, and leave out those that are of no use."""
    former = warnings.formatwarning
    with warnings.catch_warnings():
        if not debug:
            warnings.formatwarning = _as_line
            for pattern in _IGNORED:
                warnings.filterwarnings("ignore", message=pattern)
        try:
            yield
        finally:
            warnings.formatwarning = former


def _as_line(message: Warning | str, *_: Any, **__: Any) -> str:
    return f"warning: {printable(str(message))}\n"


def _dispatch(program: str, words: list[str], debug: bool) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_texts.main_help(program))
        return 0 if words else 2
    if words[0] in ("--version", "-V"):
        from . import __version__

        print(f"unrolled {__version__}")
        return 0
    command, rest = words[0], words[1:]
    if command in TRAINER_COMMANDS:
        return _train(program, command, rest, debug)
    if command not in help_texts.COMMANDS:
        near = did_you_mean(command, help_texts.COMMANDS)
        if command.partition("/")[0] in shipped.tasks():
            near = f" Did you mean 'unrolled fit {command}'?"
        raise UsageError(
            f"There is no command '{command}'.{near}\nThe commands are: {', '.join(help_texts.COMMANDS)}."
        )
    handlers: dict[str, Callable[[list[str]], int]] = {
        "list": _list,
        "cp": _copy,
        "doctor": _doctor,
        "generate": _generate,
        "caption": _caption,
        "label": _label,
        "translate": _translate,
        "average": _average,
        "info": _info,
    }
    return handlers[command](rest)


def _dispatch_lightning(program: str, words: list[str], debug: bool) -> int:
    if words and words[0] in TRAINER_COMMANDS:
        return _train(program, words[0], words[1:], debug)
    from importlib import metadata

    for script in metadata.entry_points(group="console_scripts", name="lightning"):
        if (
            script.dist is not None
            and script.dist.name.replace("_", "-").lower() == "lightning-sdk"
        ):
            return int(script.load()() or 0)
    if not words or words[0] in ("-h", "--help"):
        print(help_texts.main_help(program))
        return 0 if words else 2
    near = did_you_mean(words[0], TRAINER_COMMANDS)
    raise UsageError(
        f"There is no command 'lightning {words[0]}'.{near}\n"
        f"Here are: {', '.join(TRAINER_COMMANDS)}. Others are lightning-sdk's, which is not installed."
    )


def _train(program: str, command: str, words: list[str], debug: bool) -> int:
    word = words[0] if words and not words[0].startswith("-") else None
    asked = next((flag for flag in ("--help", "-h") if flag in words), None)
    if asked and words[words.index(asked) + 1 :] != ["all"]:
        text = (
            help_texts.task_help(command, word, program)
            if word
            else help_texts.command_help(command, program)
        )
        print(text)
        return 0
    if asked:
        words = words[:-1]
    wanted = request.parse(command, words)

    from .data.base import DataModule

    _import_classes()
    from .apps.run.training import run

    if not debug:
        warnings.formatwarning = _as_line  # Lightning's import has put its own there
    return run(wanted, DataModule, debug=debug)


def _import_classes() -> None:
    """Import what a configuration may name by its class alone: `--model.core GRU`."""
    from importlib import import_module

    for folder in ("core", "data", "tasks"):
        for source in listing.classes_in(folder).values():
            import_module(source.module)


def _list(words: list[str]) -> int:
    if "--help" in words or "-h" in words:
        print(f"Usage: unrolled list [{'|'.join(listing.LISTS)}]")
        return 0
    if len(words) > 1:
        raise UsageError(f"`unrolled list` takes one word at most, of: {', '.join(listing.LISTS)}.")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in listing.render(words[0] if words else None, width):
        print(line)
    return 0


def _copy(words: list[str]) -> int:
    if "--help" in words or "-h" in words:
        print("Usage: unrolled cp TASK[/VARIANT] FILE.yaml\n\nThen: unrolled fit FILE.yaml")
        return 0
    if len(words) != 2:
        raise UsageError("Say what to copy and where to: unrolled cp TASK[/VARIANT] FILE.yaml")
    path = shipped.copy_config(*words)
    print(f"{path}\nNext: unrolled fit {path}")
    return 0


def _doctor(words: list[str]) -> int:
    if "--help" in words or "-h" in words:
        print("Usage: unrolled doctor\n\nExit code 4 where something needed is broken.")
        return 0
    if words:
        raise UsageError(f"`unrolled doctor` takes no arguments, and got: {' '.join(words)}")
    from .apps.doctor import doctor

    return doctor(_cache_folder)


def _cache_folder() -> Path:
    from .data.cache import cache_folder

    return cache_folder()


def _generate(words: list[str]) -> int:
    from .apps.generate import generate

    return _run_function("generate", generate, words)


def _caption(words: list[str]) -> int:
    from .apps.caption import caption

    return _run_function("caption", caption, words)


def _label(words: list[str]) -> int:
    from .apps.label import label

    return _run_function("label", label, words)


def _translate(words: list[str]) -> int:
    from .apps.translate import translate

    return _run_function("translate", translate, words)


def _average(words: list[str]) -> int:
    from .apps.average import average

    return _run_function("average", average, words)


def _info(words: list[str]) -> int:
    from .apps.info import info

    return _run_function("info", info, words)


def _run_function(command: str, function: Callable[..., None], words: list[str]) -> int:
    """Call a function with the arguments that a command line gives it.

    Args:
        command: The name of the command.
        function: A typed function with a Google docstring. Its positional parameters are words of
            the command line (optional ones have a default, `*paths` takes all that are left), its
            keyword-only ones are flags.
        words: What follows the command.
    """
    if "--help" in words or "-h" in words:
        print(help_texts.function_help(command, function))
        return 0
    from .apps.run.arguments import Parser

    if hasattr(sys.stdout, "reconfigure"):
        # a terminal may not know every character of the model
        sys.stdout.reconfigure(errors="replace")
    parser = Parser(prog=f"unrolled {command}")
    parameters = inspect.signature(function).parameters.values()
    optional = [
        p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty
    ]
    several = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    skip: set[str | int] = {*several, *(p.name for p in optional)}
    parser.add_function_arguments(function, as_group=False, as_positional=True, skip=skip)
    for parameter in optional:  # jsonargparse would make flags of them
        parser.add_argument(parameter.name, type=str, nargs="?", default=parameter.default)
    for name in several:
        parser.add_argument(name, type=str, nargs="*", default=[])
    switches = {f"--{p.name}" for p in parameters if isinstance(p.default, bool)}
    for place in reversed(range(len(words))):  # `--scores` alone means `--scores true`
        if words[place] in switches and [*words, ""][place + 1] not in ("true", "false"):
            words = [*words[: place + 1], "true", *words[place + 1 :]]
    given = parser.parse_args(words).as_dict()
    rest = [word for name in several for word in given.pop(name) or []]
    if several and not rest:
        raise UsageError(
            f"Missing: {several[0]}. `unrolled {command} --help` says what is expected."
        )
    positional = [given.pop(p.name) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    function(*positional, *rest, **given)
    return 0
