"""Completion in a shell: `eval "$(unrolled --print_completion bash)"`, or zsh, or fish.

The shell asks at each press of the tabulator, `unrolled --complete WORDS`: what is offered is what
the program has at that moment. Nothing heavy is imported for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

from ...errors import UsageError, did_you_mean
from ..run.flags import task_flags
from ..run.request import COMMANDS, COMMON_FLAGS, EVALUATION_FLAGS, FIT_FLAGS, TEST_FLAGS
from .commands import files, function_of
from .shipped import overlays, tasks, variants
from .source import subclasses

# Where nothing of ours is offered, the shell completes names of files.
SCRIPTS = {
    "bash": """\
_unrolled() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _unrolled unrolled
""",
    "zsh": """\
#compdef unrolled
_unrolled() {
    local -a found
    found=(${(f)"$("${words[1]}" --complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -- $found; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _unrolled unrolled
""",
    "fish": """\
function __unrolled_complete
    set -l words (commandline -opc) (commandline -ct)
    command $words[1] --complete $words[2..-1] 2>/dev/null
end
complete -c unrolled -a '(__unrolled_complete)'
""",
}


def script(shell: str) -> str:
    """Return what a shell has to read once.

    Args:
        shell: Its name.

    Raises:
        UsageError: There is no completion for it.
    """
    if shell not in SCRIPTS:
        raise UsageError(
            f"There is no completion for '{shell}'.{did_you_mean(shell, SCRIPTS)} "
            f"The shells are: {', '.join(SCRIPTS)}."
        )
    return SCRIPTS[shell]


def candidates(words: Sequence[str]) -> list[str]:
    """Return what the last word may become; nothing where it is the name of a file.

    Args:
        words: What follows the program's name; the last one is unfinished, perhaps empty.
    """
    *before, last = words or [""]
    return sorted(word for word in _possible(before, last) if word.startswith(last))


def _possible(before: list[str], last: str) -> Iterable[str]:
    if not before:
        return [*COMMANDS, *files(), "--help", "--version", "--print_completion"]
    command, *given = before
    if command == "--print_completion":
        return SCRIPTS
    if command not in (*COMMANDS, *files()):
        return []
    trains = command in COMMANDS or command == "check"
    if trains and given and (found := _values(given[-1])):
        return found
    if last.startswith("-"):
        return [*(_training_flags(command, given) if trains else _flags(command, given)), "--help"]
    if given:
        return []
    if trains:
        return [name for task in tasks() for name in (task, *_variants(task, command))]
    return _words(command)


def _variants(task: str, command: str) -> list[str]:
    return [f"{task}/{variant}" for variant in variants(task)] if command != "predict" else []


def _values(flag: str) -> list[str]:
    """Return what a flag of training may be set to, as far as it is a name."""
    last = flag.rpartition(".")[2]
    if flag.startswith("--model.") and last in ("core", "encoder", "decoder"):
        return list(subclasses("core", "RecurrentCore"))
    if flag == "--data":
        return list(subclasses("data", "DataModule"))
    return overlays() if flag == "--config" else []


def _training_flags(command: str, given: list[str]) -> list[str]:
    own = FIT_FLAGS if command in ("fit", "check") else EVALUATION_FLAGS
    own = {**own, **(TEST_FLAGS if command == "test" else {}), **COMMON_FLAGS}
    flags = [name.partition(" ")[0] for name in own]
    word = next((word for word in given if not word.startswith("-")), None)
    return flags + (task_flags(word) if word else [])


def _flags(command: str, given: list[str]) -> list[str]:
    function = function_of(f"..{command}", command)
    if command == "plot":
        from ..plots import files

        word = next((word for word in given if word in files()), None)
        if word is None:
            return []
        function = function_of(f"..plots.{word}", word)
    parameters = inspect.signature(function).parameters.values()
    flags = [f"--{p.name}" for p in parameters if p.kind is p.KEYWORD_ONLY]
    return flags + ["--out"] * (command == "plot")


def _words(command: str) -> Iterable[str]:
    """Return the words that a command begins with, where they are no files."""
    if command == "plot":
        from ..plots import files

        return files()
    if command == "list":
        from ..list import LISTS

        return LISTS
    if command == "cp":
        return [f"{task}/{variant}" for task in tasks() for variant in variants(task)]
    return []
