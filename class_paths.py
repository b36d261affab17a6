"""What the names of classes in a file may stand for.

A checkpoint and a configuration name classes, `{"class_path": "torch.optim.AdamW", "init_args":
{...}}`, and something is made of each. Whoever may write any name there can run any function of
any package. So a name counts only when it resolves, module by module, to a class of the kind that
the argument expects: no function, no attribute of a class or of an imported module. Nothing is
imported before every name is known to lie in a package whose classes may be named at all.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from .errors import UnrolledError, a, lies_here

Kinds = tuple[type, ...]

_DEEPEST = 100  # cores within cores are some ten deep
_MOST = 1_000_000  # parts of a file's data: the largest vocabulary has fewer
# Text that another program can't take for a class, a path or YAML: `simple`, `00:12:00:00`, `dim
# underline`.
_WORD = re.compile(r"(?!.*:\s)[\w:# -]*")

UNSEEN = object()
"""In a type's place: nobody has seen the class whose argument it is; any class may be meant."""
_PASSED_ON = object()  # in a type's place: it can't be seen here, and a parser may see it
_UNKNOWN = (None, Any, UNSEEN, _PASSED_ON)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A class and its arguments, of which every name has been resolved.

    Attributes:
        cls: The class.
        arguments: Its arguments; recipes in the place of objects.
        factory: Whether whoever receives it calls it himself, with arguments of his own.
    """

    cls: type
    arguments: dict[str, Any]
    factory: bool = False

    def make(self, kind: type, **instead: Any) -> Any:
        """Return an object of the class, or what makes one for whoever calls it.

        Args:
            kind: Classes in it that get other arguments.
            instead: Those arguments; a class that does not take one gets none.
        """
        arguments = {name: _made(value, kind, instead) for name, value in self.arguments.items()}
        if issubclass(self.cls, kind):
            arguments |= accepted(self.cls, instead)
        return functools.partial(self.cls, **arguments) if self.factory else self.cls(**arguments)


def _made(value: Any, kind: type, instead: dict[str, Any]) -> Any:
    if isinstance(value, Recipe):
        return value.make(kind, **instead)
    if isinstance(value, dict):
        return {name: _made(item, kind, instead) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_made(item, kind, instead) for item in value]
    return value


@dataclasses.dataclass(frozen=True)
class ClassPaths:
    """The rules by which the names in one file are resolved.

    Attributes:
        file: What to call the file in an error message.
        roots: The packages whose classes it may name, each by a package that it is defined in or
            below; None: any that can be imported, as a configuration may.
        error: What to raise.
        parsed: Whether a parser reads the same data afterwards, which finds out more than is seen
            here of what a class passes on to others, and imports what text names there.
    """

    file: str
    roots: tuple[str, ...] | None
    error: type[UnrolledError]
    parsed: bool = False

    def trusted(self, name: Any) -> bool:
        """Say whether a name is in one of the packages; nothing is imported.

        Args:
            name: What stands at `class_path`.
        """
        if not isinstance(name, str) or not all(map(str.isidentifier, name.split("."))):
            return False
        roots = self.roots
        return roots is None or any(name == root or name.startswith(f"{root}.") for root in roots)

    def names(self, where: str, value: Any) -> Iterator[tuple[str, Any]]:
        """Yield every place of plain data that names a class, and the name.

        Args:
            where: What to call the data.
            value: The data.

        Raises:
            UnrolledError: `error`: they are no plain data, or a nest without end.
        """
        waiting = [(where, value, 0)]
        for _ in range(_MOST):
            if not waiting:
                return
            where, value, depth = waiting.pop()
            if isinstance(value, dict):
                if "class_path" in value:
                    yield where, value["class_path"]
                waiting += [(f"{where}.{key}", item, depth + 1) for key, item in value.items()]
            elif isinstance(value, list | tuple):
                waiting += [(where, item, depth + 1) for item in value]
            elif value is not None and not isinstance(value, bool | int | float | str):
                raise self.error(
                    f"{self.file}: {where} holds {a(type(value))}, which is no plain data."
                )
            if depth > _DEEPEST:
                break
        # It may hold itself, or hold one part again and again, each time twice.
        raise self.error(f"{self.file} is nested too deeply, or without end: not loaded.")

    def refuse_strangers(self, where: str, value: Any) -> None:
        """Refuse names of other packages, before anything is imported.

        Args:
            where: What to call the data.
            value: Plain data.

        Raises:
            UnrolledError: `error`: there is one; or see `names`.
        """
        for place, name in self.names(where, value):
            if self.trusted(name):
                continue
            text = f"{self.file} asks for the class {name!r} ({place}), which is none of "
            text += "`unrolled`, `torch.nn` or `torch.optim`: not loaded."
            package = name.partition(".")[0] if isinstance(name, str) else ""
            if package.isidentifier():
                text += f"\nIf you know where it comes from, trust it: --trust {package}, "
                text += f"or trust=['{package}'] in Python."
            raise self.error(text)

    def find(self, name: Any, kinds: Kinds, where: str) -> type:
        """Return the class of a name.

        Args:
            name: Its full name.
            kinds: It must be a subclass of one of these; empty: any class.
            where: The argument that it is for.

        Raises:
            UnrolledError: `error`: there is no such class, it is of another kind, or no class.
        """
        if not self.trusted(name):
            raise self.error(f"{self.file} names no class that may be used, {name!r} ({where}).")
        module, _, attribute = name.rpartition(".")
        try:
            found = getattr(import_module(module), attribute)
        except Exception as error:  # a module may raise anything when it is imported
            known = f"{self.file} asks for '{name}' ({where}), which this version does not have."
            raise self.error(known + lies_here(name)) from error
        wanted = " or ".join(map(_in_words, kinds)) or "a class"
        if not isinstance(found, type):
            what = "a function" if callable(found) else "no class"
            raise self.error(f"{self.file} asks for '{name}' ({where}): {what}, not {wanted}.")
        if kinds and not issubclass(found, kinds):
            raise self.error(f"{self.file} asks for '{name}' ({where}), which is not {wanted}.")
        real = f"{found.__module__}.{found.__qualname__}"
        below = found.__qualname__ == attribute and f"{found.__module__}.".startswith(f"{module}.")
        # A package exports what is defined below it; Lightning's `pytorch` what its `fabric` has,
        # too.
        exported = below or (module.startswith("lightning.") and self.trusted(real))
        if self.roots is not None and not exported:
            raise self.error(
                f"{self.file} asks for '{name}' ({where}), which is defined as '{real}'."
            )
        return found

    def resolve(self, value: Any, hint: Any, where: str) -> Any:
        """Return plain data with a recipe in the place of every class that it names.

        Args:
            value: Plain data.
            hint: The type that is expected; None: unknown.
            where: The argument that it is for.

        Raises:
            UnrolledError: `error`: see `find`; or text where none is expected, which other
                programs would read as the name of a function.
        """
        kinds = _kinds(hint)
        strict = self.roots is not None
        if isinstance(value, str):
            if hint in _UNKNOWN:
                refused = strict and "class_path" in value
                may_be_name = hint is _PASSED_ON and not _WORD.fullmatch(value)
                refused |= self.parsed and may_be_name
            elif _takes_text(hint):
                importable = bool(kinds) or _takes_functions(hint)
                refused = strict and importable and not _WORD.fullmatch(value)
            else:
                refused = strict or bool(_factory_kinds(hint))
            if refused:
                expected = " or ".join(map(_in_words, kinds))
                raise self.error(
                    f"{self.file} gives the text {value[:60]!r} for {where}, which takes "
                    + (f"{expected}; a function is none." if expected else "none.")
                )
        if isinstance(value, dict) and "class_path" in value:
            if unknown := set(value) - {"class_path", "init_args", "dict_kwargs"}:
                raise self.error(
                    f"{self.file}: {where} has the unknown key {min(unknown, key=str)!r}."
                )
            if hint is UNSEEN and str(value["class_path"]).startswith(
                ("lightning.", "torchmetrics.")
            ):
                return value  # it is made by nobody, and importing these takes seconds
            if not kinds and strict and hint is not UNSEEN:
                raise self.error(f"{self.file} names a class for {where}, which takes none.")
            cls = self.find(value["class_path"], kinds, where)
            given = [value.get(key) or {} for key in ("init_args", "dict_kwargs")]
            if not all(isinstance(arguments, dict) for arguments in given):
                raise self.error(
                    f"{self.file}: the arguments of {cls.__name__} ({where}) have no names."
                )
            factory = bool(_factory_kinds(hint))
            return Recipe(cls, self.arguments(cls, given[0] | given[1]), factory)
        if isinstance(value, dict):
            # A dataclass may be given by its fields alone.
            record = next(filter(dataclasses.is_dataclass, kinds), None)
            if record is not None:
                return self.arguments(record, value)
            return {name: self.resolve(item, _item(hint), where) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.resolve(item, _item(hint), where) for item in value]
        return value

    def arguments(self, cls: type, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a class with every name in them resolved.

        Args:
            cls: The class.
            arguments: Plain data by name. `spec` is data that the class itself checks.

        Raises:
            UnrolledError: `error`: see `resolve`; or the class has no such argument.
        """
        hints, open_ended = parameters(cls)
        for name, value in arguments.items():
            # Some of Lightning's pass the rest on to other classes: their settings, as a parser has
            # filled them in, are taken where they can name nothing.
            plain = value is None or isinstance(value, bool | int | float)
            passed_on = plain and cls.__module__.startswith("lightning.")
            known = name in hints or open_ended or passed_on
            if self.roots is not None and not known:
                raise self.error(
                    f"{self.file}: {cls.__name__} has no argument {name!r}. It may be of another "
                    "version."
                )
        return {
            name: value
            if name == "spec" and self.roots is not None
            else self.resolve(value, hints.get(name, _PASSED_ON), f"{cls.__name__}.{name}")
            for name, value in arguments.items()
        }


def accepted(cls: type, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return those of some arguments that a class's constructor has.

    Args:
        cls: The class.
        arguments: Arguments by name.
    """
    hints, _ = parameters(cls)
    return {name: value for name, value in arguments.items() if name in hints}


def parameters(cls: type) -> tuple[dict[str, Any], bool]:
    """Return the types of a constructor's parameters, those of the bases that it passes on to too.

    Args:
        cls: The class.

    Returns:
        The type of each parameter, None where it can't be had; and whether there may be others.
    """
    hints: dict[str, Any] = {}
    for base in cls.__mro__:
        constructor = vars(base).get("__init__")
        if constructor is None or base is object:
            continue
        try:
            signature = inspect.signature(constructor).parameters
        except (TypeError, ValueError):  # written in C
            return hints, True
        types_of = _hints(constructor)
        for name, parameter in list(signature.items())[1:]:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                hints.setdefault(name, types_of.get(name))
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in signature.values()):
            return hints, False
    return hints, True


def _hints(function: Any) -> dict[str, Any]:
    """Return the annotations of a function, each resolved for itself: one may not be importable."""
    function = inspect.unwrap(function)
    found: dict[str, Any] = {}
    for name, annotation in getattr(function, "__annotations__", {}).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            found |= get_type_hints(alone, globalns=getattr(function, "__globals__", {}))
        except Exception:  # evaluating an annotation may raise anything
            found[name] = _PASSED_ON
    return found


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (typing.Union, types.UnionType)


def _is_callable(hint: Any) -> bool:
    return get_origin(hint) is collections.abc.Callable


def _takes_functions(hint: Any) -> bool:
    return (
        hint is collections.abc.Callable
        or _is_callable(hint)
        or any(map(_takes_functions, get_args(hint)))
    )


def _factory_kinds(hint: Any) -> Kinds:
    """Return the classes that a factory of this type makes: R of `Callable[..., R]`."""
    if _is_union(hint):
        return _together(map(_factory_kinds, get_args(hint)))
    return _kinds(get_args(hint)[-1]) if _is_callable(hint) and get_args(hint) else ()


def _kinds(hint: Any) -> Kinds:
    """Return the classes of which a value of this type is an object, or whose objects it makes."""
    if _is_union(hint):
        return _together(map(_kinds, get_args(hint)))
    if _is_callable(hint):
        return _factory_kinds(hint)
    if not isinstance(hint, type) or typing.is_typeddict(hint) or get_origin(hint) is not None:
        return ()
    plain = hint is Any or hint.__module__ == "builtins" or issubclass(hint, Path)
    return () if plain else (hint,)


def _together(kinds: Iterable[Kinds]) -> Kinds:
    return tuple(dict.fromkeys(kind for some in kinds for kind in some))


def _item(hint: Any) -> Any:
    """Return the type of the items of a list, a tuple or a dict of this type; Never: it is none."""
    if hint in (UNSEEN, _PASSED_ON):
        return hint
    if hint in _UNKNOWN or hint in (list, tuple, dict):
        return None
    if _is_union(hint):
        found = [item for part in get_args(hint) if (item := _item(part)) is not typing.Never]
        if not found or None in found:
            return None if found else typing.Never
        return functools.reduce(lambda one, other: one | other, found)
    if get_origin(hint) is None or _is_callable(hint) or get_origin(hint) is typing.Literal:
        return typing.Never
    return [part for part in get_args(hint) if part is not Ellipsis][-1]


def _takes_text(hint: Any) -> bool:
    """Say whether a type takes text as it is: str, a Literal, a Path, a union or list of such."""
    if hint in (str, Path, timedelta) or get_origin(hint) is typing.Literal:
        return True
    return not _is_callable(hint) and any(map(_takes_text, get_args(hint)))


def _in_words(kind: type) -> str:
    """Return the name of a class in words: `an optimizer`, `a recurrent core`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", kind.__name__).split()
    text = " ".join(word if word.isupper() else word.lower() for word in words)
    return f"{'an' if text[0] in 'aeiouAEIOL' else 'a'} {text}"
