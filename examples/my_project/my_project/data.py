"""Names of people, a file for each language."""

from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from unrolled.data import CharacterVocabulary, DataModule, Items, ItemSampler, Part, draw, padded
from unrolled.errors import DataError

from .batch import NamesBatch, NamesSpec


class NamesData(DataModule):
    """A folder of files such as `Finnish.txt`, each with a name on every line."""

    spec_form = NamesSpec

    def __init__(self, root: str, *, batch_size: int = 16, **settings: Any) -> None:
        super().__init__(**settings)
        self.root, self.batch_size = Path(root), batch_size

    @cached_property
    def parts(self) -> dict[Part, list[tuple[str, str]]]:
        """The names and their languages; a fifth are for validation, a fifth for the test."""
        names = [
            (name, file.stem)
            for file in sorted(self.root.glob("*.txt"))
            for name in filter(None, file.read_text(encoding="utf-8").split("\n"))
        ]
        others, test = draw(names, 0.2, 0)
        train, val = draw(others, 0.25, 0)
        if not val:
            raise DataError(f"'{self.root}' has too few names; it needs .txt files of them.")
        return {"train": train, "val": val, "test": test}

    def own_spec(self) -> dict[str, Any]:
        """Return the characters and the languages of the training part, a `NamesSpec`."""
        names, languages = zip(*self.parts["train"], strict=True)
        characters = CharacterVocabulary("".join(names))
        return {"vocabulary": characters.to_spec(), "languages": sorted(set(languages))}

    def contents(self, part: Part) -> tuple["Names", partial[ItemSampler]]:
        """Return what makes the batches of a part, and what orders them."""
        names = Names(self.parts[part], self.spec)
        return names, partial(ItemSampler, len(names.names), batch_size=self.batch_size)


class Names:
    """The names of a part, read as batches."""

    def __init__(self, names: list[tuple[str, str]], spec: dict[str, Any]) -> None:
        self.names, self.languages = names, spec["languages"]
        self.vocabulary = CharacterVocabulary(spec["vocabulary"]["symbols"])

    def __getitem__(self, items: Items) -> NamesBatch:
        names = [self.names[number] for number in items.numbers]
        ids, lengths = padded(self.vocabulary.encode(name, unknown="replace") for name, _ in names)
        target = [self.languages.index(language) for _, language in names]
        return NamesBatch(ids, torch.tensor(target, dtype=torch.int64), lengths)
