"""The parser behind every command: no abbreviated flags, the nearest name for a wrong one."""

from __future__ import annotations

import gc
import os
import pkgutil
import re
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from ...errors import SetupError, UnrolledError, UsageError, did_you_mean, lies_here, quoted, typed
from .source import classes_in, modules_in

# The texts by which jsonargparse (4.39 to 4.53) says what is wrong; the first that occurs is the
# cause.
_UNRECOGNIZED = re.compile(r"[Uu]nrecognized arguments: (\S.*)")
_OPTION = re.compile(r"Option '([^']+)' is not accepted(.*)|does not accept option '([^']+)'(.*)")
_VALUE = re.compile(r"argument (--\S+): expected one argument")
_REQUIRED = re.compile(r"(?:arguments are required|is required|are required)[^:]*: (.+)")
_KEY = re.compile(r'Parser key "([^"]+)"')
_NESTED = re.compile(r"NestedArg\(key='([^']+)', val=(.+)\)")
_CLASS = re.compile(r"Expected a dot import path string: (\S+)")
# a number, or an object that is one: `lr` of torch's optimizers
_NUMBER = re.compile(r"Expected a <class '(float|int)'>\n *- Expected a dot import path string")
_ATTRIBUTE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'|No module named '([\w.]+)'")
_EXPECTED = re.compile(r"Expected a (.+?)\. Got value: (.+)|Expected (.+?)\. Got value: (.+)")
_SUBTYPE = re.compile(r"^ *- Expected a (typing\.Literal\[.+\]|<class '[\w.]+'>)$", re.MULTILINE)
_GIVEN = re.compile(r"^ *Given value: (.+)$", re.MULTILINE)
_AMBIGUOUS = re.compile(r"Multiple subclasses with name (\w+)\. [^:]+: ([\w.]+(?:, [\w.]+)*)\.?\s")
_EXPLAINED = re.compile(
    r"(There is no (?:flag|option|class|module) .*|Several classes are called .*"
    r"|Missing: [^`]*`[^`]*` says what is expected\."
    r"|expected .*, got '.*'\.|expected the name of a class, not of a file\.)"
)
_NO_OPTION = re.compile(r"There is no option '([^']+)'")
_LITERAL = re.compile(r"(?:typing\.)?Literal\[(.+?)\]")
_TYPE = re.compile(r"<class '([\w.]+)'>")

# What other programs call a setting, by the last word of our flag.
_SYNONYMS = {
    synonym: name
    for name, synonyms in {
        "accelerator": "device cuda cpu gpu mps",
        "batch_size": "batch bs batchsize train_batch_size",
        "chunk_length": "bptt seq_len seq_length sequence_length block_size context_length",
        "default_root_dir": "output output_dir out_dir save_dir log_dir logdir runs",
        "devices": "gpus num_gpus n_gpus ngpus nproc",
        "dropout": "drop drop_rate p_dropout",
        "embedding_size": "emsize emb emb_size embed_dim embedding_dim embed_size word_dim",
        "gradient_clip_val": "clip grad_clip max_grad_norm clip_grad clip_grad_norm",
        "hidden_size": "hidden hidden_dim rnn_size nhid n_hidden hidden_units units_hidden",
        "init_from": "pretrained finetune finetune_from warm_start",
        "lr": "learning_rate learningrate alpha",
        "lr_scheduler": "scheduler schedule lr_schedule",
        "max_epochs": "epochs epoch num_epochs n_epochs nepochs train_epochs",
        "max_steps": "steps num_steps n_steps iterations iters max_iters updates",
        "num_layers": "layers n_layers nlayers layer depth",
        "num_workers": "workers num_proc jobs",
        "path": "data input input_file text data_path file filename",
        "precision": "fp16 bf16 amp half mixed_precision",
        "resume": "resume_from checkpoint ckpt load load_from continue",
        "root": "data_dir dataroot data_root folder dir",
        "seed_everything": "seed random_seed manual_seed",
        "weight_decay": "wd decay l2",
    }.items()
    for synonym in synonyms.split()
}


def import_classes() -> None:
    """Import every class that a configuration may name by its name alone, `--model.core GRU`."""
    collects = gc.isenabled()
    gc.disable()  # what an import makes stays: to look for what doesn't takes a sixth of the time
    try:
        for folder in ("core", "data", "tasks"):
            for module in modules_in(folder):
                import_module(module)
    finally:
        if collects:
            gc.enable()


class Parser(ArgumentParser):
    """A jsonargparse parser whose errors are `UsageError`s of one or two lines."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what a message of jsonargparse means.

        Args:
            message: The message, for a nested parser one that an outer parser wraps.
            ex: What caused it.

        Raises:
            UsageError: Always.
        """
        raise UsageError(explain(message, self.flags(), self.prog)) from ex

    def flags(self) -> list[str]:
        """Return every flag of this parser, those of its subcommands included."""
        found = [flag for flag in self._option_string_actions if flag.startswith("--")]
        for action in self._actions:
            if isinstance(action.choices, dict):
                found += [
                    flag
                    for parser in action.choices.values()
                    for flag in getattr(parser, "flags", list)()
                ]
        return sorted(flag for flag in found if not flag.endswith(("+", ".help")))


def explain(message: str, flags: Iterable[str], program: str) -> str:
    """Turn a message of jsonargparse into a line or two that name the thing and the right one.

    A nested parser explains first, so a message may already hold an explanation; it is then kept.

    Args:
        message: What jsonargparse says.
        flags: The flags that would have been right.
        program: What the parser's program is called.
    """
    flags = list(flags)
    explained = _EXPLAINED.search(message)
    nested = _NESTED.search(message)
    keys = _KEY.findall(message)
    if nested:
        flag = f"--{keys[0]}.{nested[1]}" if keys else f"--{nested[1]}"
    else:
        flag = f"--{'.'.join(keys)}" if keys else ""
    if explained:
        option = _NO_OPTION.match(explained[1])
        if option and (right := _by_last_word(option[1], flags)):
            return f"{flag or explained[1]}: There is no option '{option[1]}'.{right}"
        where = f"{flag}: " if flag and "flag" not in explained[1] else ""
        return f"{where}{explained[1]}"
    if found := _UNRECOGNIZED.search(message):
        name = _first_word(found[1])
        if not name.startswith("-"):
            place = next((flag for flag in ("--data.path", "--data.root") if flag in flags), None)
            known = place and os.path.exists(name)
            meant = f" Are these your data? {place} {typed(name)}" if known else ""
            return f"The word '{name}' is not expected here: a flag begins with '--'.{meant}"
        near = _by_last_word(name, flags) or did_you_mean(name, flags)
        return f"There is no flag '{name}'.{near}"
    if found := _OPTION.search(message):
        name = found[1] or found[3]
        first, tops = name.partition(".")[0], {flag[2:].partition(".")[0] for flag in flags}
        if found[3] and first not in tops and (near := did_you_mean(first, tops)):
            return f"There is no option '{first}'.{near}"
        near = did_you_mean(name.rpartition(".")[2], (flag.removeprefix("--") for flag in flags))
        return f"There is no option '{name}'.{near}"
    where = f"{flag}: " if flag else ""
    if found := _AMBIGUOUS.search(f"{message} "):
        choices = " or ".join(name.rstrip(".") for name in found[2].split(", "))
        return f"{where}Several classes are called '{found[1]}': give the whole name, {choices}."
    if (number := _NUMBER.search(message)) and (given := _GIVEN.search(message)):
        return f"{where}expected {number[1]}, got '{quoted(given[1].strip(), 100)}'."
    if found := _CLASS.search(message):
        module, _, name = found[1].rpartition(".")
        near = did_you_mean(name, _names_in(module)) or did_you_mean(found[1], class_names())
        near = lies_here(found[1]) or near
        return f"{where}There is no class '{found[1]}'.{near}"
    if found := _ATTRIBUTE.search(message):
        name = f"{found[1]}.{found[2]}" if found[1] else found[3]
        if not found[1]:
            near = lies_here(name) or (_by_last_word(flag, flags) if flag == "--data" else "")
            return f"{where}There is no module '{name}'.{near}"
        if found[2].islower():
            near = did_you_mean(found[2], _names_in(found[1], modules=True))
            return f"{where}There is no module '{name}'.{near}"
        near = did_you_mean(found[2], _names_in(found[1])) or did_you_mean(found[2], class_names())
        return f"{where}There is no class '{name}'.{near}"
    if found := _VALUE.search(message):
        return f"{found[1]} needs a value."
    if "Config file loop" in message:
        return f"{flag}: expected the name of a class, not of a file."
    if found := _REQUIRED.search(message):
        names = ", ".join(name.partition(".")[2] or name for name in found[1].strip().split(", "))
        return f"Missing: {names}. `{program} --help` says what is expected."
    if found := _EXPECTED.search(message):
        expected, value = (found[1], found[2]) if found[1] else (found[3], found[4])
        expected = _LITERAL.sub(
            r"one of \1", _TYPE.sub(lambda match: match[1].rpartition(".")[2], expected)
        )
        if expected == "NoneType":  # the file of a configuration was read, and is none
            return f"{flag}: expected the name of a class.{_by_last_word(flag, flags)}"
        value = quoted(value.strip(), 100)
        return f"{flag or 'The configuration'}: expected {expected}, got '{value}'."
    # one of several types, each named on a line
    kinds, given = _SUBTYPE.findall(message), _GIVEN.search(message)
    if kinds[1:] and given and "NoneType" in kinds[-1] and "class_path" not in given[1]:
        named = [_LITERAL.sub(r"one of \1", _TYPE.sub(r"\1", kind)) for kind in kinds[:-1]]
        return f"{flag}: expected {', '.join(named)} or null, got '{given[1].strip()}'."
    return f"{where}{_shortened(message)}"


def cause(error: Exception) -> Exception:
    """Return the error that jsonargparse wraps, when a constructor has raised it.

    Args:
        error: What `instantiate_classes` raised.
    """
    inner: BaseException | None = error
    missing: ImportError | None = None
    while inner is not None and not isinstance(inner, UnrolledError):
        missing = inner if isinstance(inner, ImportError) else missing
        inner = inner.__cause__ or inner.__context__
    if isinstance(inner, UnrolledError):
        return inner
    if missing is not None:
        return lacking(missing)
    # the first of the errors, with the lines that are further in: they say why
    wrapped = re.search(r"Errors:\n( *)- (.+(?:\n\1 {3,}\S.*)*)", str(error))
    return UsageError(" ".join((wrapped[2] if wrapped else str(error)).split()))


def lacking(error: ImportError) -> SetupError:
    """Return what to tell of a package that is not installed.

    Args:
        error: What importing it, or what needs it, has raised.
    """
    text = " ".join(str(error).split())
    package = (error.name or "").partition(".")[0]
    hint = f" Try: pip install {package}" if package and "pip install" not in text else ""
    return SetupError(f"{text}{'' if text.endswith(('.', '!', '`')) else '.'}{hint}")


def _first_word(words: str) -> str:
    """Return the first of words that were joined by blanks: a path with blanks is one of them."""
    parts = words.split(" ")
    if words.startswith("-"):
        return parts[0].partition("=")[0]
    begins = (" ".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next(filter(os.path.exists, begins), parts[0])


def _by_last_word(name: str, flags: Iterable[str]) -> str:
    """Name the flags that end as a wrong one does, or as what other programs call it."""
    last = name.lstrip("-").rpartition(".")[2].replace("-", "_").lower()
    others = {flag: flag.lstrip("-").rpartition(".")[2] for flag in flags if flag != name}
    wanted = {last, _SYNONYMS.get(last, last)}
    near = [flag for flag, word in others.items() if word in wanted]
    near = near or [flag for flag in others if flag.endswith(tuple(f"_{word}" for word in wanted))]
    if near:
        shortest = sorted(near, key=lambda flag: (flag.count("."), flag))[:3]
        return f" Did you mean {' or '.join(map(repr, shortest))}?"
    return ""


def _shortened(message: str) -> str:
    frame = ("Parser key", "Does not validate", "Subtypes", "Given value type")
    lines = (line.strip(" -") for line in message.splitlines())
    told = [line for line in lines if line not in ("", "Errors:") and not line.startswith(frame)]
    return _TYPE.sub(lambda match: match[1].rpartition(".")[2], " ".join(told[:3]))


def class_names() -> set[str]:
    """Return the short names of the classes that a configuration may name."""
    names = {name for folder in ("core", "data", "tasks", "apps") for name in classes_in(folder)}
    return {name for name in names | _imported_class_names() if not name.startswith("_")}


def _names_in(module: str, *, modules: bool = False) -> set[str]:
    """Return the classes of a module that is imported, or the modules in it."""
    found = sys.modules.get(module)
    if found is None:
        return set()
    if modules:
        return {info.name for info in pkgutil.iter_modules(getattr(found, "__path__", ()))}
    return {name for name, value in vars(found).items() if isinstance(value, type)}


def _imported_class_names() -> set[str]:
    """Return the classes, also of the user's own, that are imported already."""
    names: set[str] = set()
    roots = [
        ("unrolled.core.recurrent", "RecurrentCore"),
        ("unrolled.data.base", "DataModule"),
        ("unrolled.tasks.base", "Task"),
        ("torch.optim", "Optimizer"),
        ("torch.optim.lr_scheduler", "LRScheduler"),
        ("lightning.pytorch.callbacks", "Callback"),
        ("lightning.pytorch.loggers", "Logger"),
    ]
    for module, name in roots:
        pending = [getattr(sys.modules[module], name)] if module in sys.modules else []
        while pending:
            pending += (children := pending.pop().__subclasses__())
            names |= {child.__name__ for child in children}
    return names
