"""Parallel text: files, tables or a data set with sentences and their translations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError, UsageError, quoted
from ..cache import cache_folder
from ..formats.folders import missing_file, path_of
from ..formats.iterables import kept_rows
from ..formats.packed import COMPRESSED
from ..formats.table import Field, chosen_columns
from ..spec import Kind, WordTokenizer
from ..splits import PARTS, Part
from .base import TranslationData
from .pairs import Pairs, dataset_pairs, file_pairs, rereadable
from .tables import table_pairs

# What the parts are called in folders and data sets, tried in this order where the user names none.
_NAMES: dict[Part, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "validation", "valid", "dev"),
    "test": ("test",),
}


class ParallelData(TranslationData):
    """Parallel text, in one of four forms.

    - two files a part, line by line: `train_source` and `train_target`, the same for `val_` and
      `test_`;
    - a folder of such files: `root`, with `train.de` and `train.en`, and so on, by the names of the
      languages;
    - a file a part: `train`, `val`, `test`: a table (`.tsv`, `.csv`, `.txt`, whatever stands
      between its columns, with or without header), `.jsonl`, `.json`, `.parquet`, `.arrow`, `.tmx`,
      WMT's `.xml`, or a `.zip` with a file a language;
    - a data set of the `datasets` library: `dataset`, with a `translation` feature or two text
      columns.

    All text is UTF-8; `.gz`, `.bz2`, `.xz` and `.zst` are decompressed. Files with a sentence a
    line may be WMT's `.sgm` and `.xml`, too, and WIT3's with tags. The subwords are those of the
    training part.

    Args:
        root: A folder with the files of all parts.
        source: Name of the source language (`de`), or of the column that holds it.
        target: Name of the target language, or of its column.
        train_name: What the training part is called in `root` or `dataset`; null: `train`.
        val_name: The validation part; null: whichever of `val`, `validation`, `valid`, `dev` there
            is.
        test_name: The test part; null: `test`.
        train_source: Source sentences to train on, one a line.
        train_target: Their translations, line by line.
        val_source: Source sentences of the validation.
        val_target: Their translations.
        test_source: Source sentences of the test.
        test_target: Their translations.
        train: A table to train on.
        val: A table for the validation.
        test: A table for the test.
        columns: Which column of a table is which, where its header does not say:
            `source=2,target=1`, by numbers from 1 or by names.
        dataset: A data set's name, or a folder it was saved to.
        dataset_config: Name of its configuration, where it has several.
        kind: `bpe` or `unigram` subwords, or whole words (`word`), which can't be put back together
            exactly.
        tokenizer: How `word` parts text: `treebank`, as the Penn Treebank; `spaces`, by white space
            alone; `basic_english`, as torchtext's, in lower case.
        vocabulary_size: Subwords of each vocabulary at most, four special ones included. null: by
            the training part: all characters, and pieces of several that occur 50 times or more,
            32,000 at most; of whole words 8,000.
        vocabulary: A file with the vocabulary of another program: Hugging Face's `tokenizer.json`,
            a SentencePiece `.model`, or a `.txt` with a word a line; or the source's and the
            target's with a comma in between. null: it is trained.
        joint_vocabulary: One vocabulary for both languages.
        lowercase: Bring all text to lower case; the references of the scores stay as they are.
        max_length: Subwords of a sentence in training at most. Pairs with a longer side are left
            out and counted; in evaluation a sentence may be ten times as long, and a longer one is
            refused.
        batch_size: Pairs of a batch in each process; null where `batch_tokens` says it.
        batch_tokens: Instead of that, the budget of a batch in each process: pairs times the
            longest sentence of either side, in subwords.
        num_workers: Processes that prepare batches ahead. The main process is fast enough.
        seed: Start of the pseudo-random numbers of the order.
        cache_dir: Folder for what is prepared; null for UNROLLED_CACHE or the user's cache folder.
        spec: A checkpoint's spec: use its vocabularies. None to train them.

    Raises:
        UsageError: The settings don't say where the sentences are, or are out of their range.

    Examples:
        >>> pairs = [("ein Hund", "a dog"), ("ein Haus", "a house")]
        >>> data = ParallelData.from_iterable(pairs, val=[("ein Hut", "a hat")], kind="word")
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> batch = next(iter(data.val_dataloader()))
        >>> batch.source.shape, batch.reference
        (torch.Size([1, 3]), ('a hat',))
    """

    def __init__(
        self,
        root: str | None = None,
        *,
        source: str = "source",
        target: str = "target",
        train_name: str | None = None,
        val_name: str | None = None,
        test_name: str | None = None,
        train_source: str | None = None,
        train_target: str | None = None,
        val_source: str | None = None,
        val_target: str | None = None,
        test_source: str | None = None,
        test_target: str | None = None,
        train: str | None = None,
        val: str | None = None,
        test: str | None = None,
        columns: str | None = None,
        dataset: str | None = None,
        dataset_config: str | None = None,
        kind: Kind = "bpe",
        tokenizer: WordTokenizer = "treebank",
        vocabulary_size: int | None = None,
        vocabulary: str | None = None,
        joint_vocabulary: bool = True,
        lowercase: bool = False,
        max_length: int = 128,
        batch_size: int | None = 64,
        batch_tokens: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        cache_dir: str | None = None,
        spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            kind=kind,
            tokenizer=tokenizer,
            vocabulary_size=vocabulary_size,
            vocabulary=vocabulary,
            joint_vocabulary=joint_vocabulary,
            lowercase=lowercase,
            max_length=max_length,
            batch_size=batch_size,
            batch_tokens=batch_tokens,
            num_workers=num_workers,
            seed=seed,
            cache_dir=cache_dir,
            spec=spec,
        )
        self.root = root
        self.source = source
        self.target = target
        self.names: dict[Part, str | None] = {
            "train": train_name,
            "val": val_name,
            "test": test_name,
        }
        self.sides: dict[Part, tuple[str | None, str | None]] = {
            "train": (train_source, train_target),
            "val": (val_source, val_target),
            "test": (test_source, test_target),
        }
        self.tables: dict[Part, str | None] = {"train": train, "val": val, "test": test}
        self.columns = columns
        self.dataset = dataset
        self.dataset_config = dataset_config
        self._found: dict[Part, Pairs | None] = {}
        chosen_columns(columns, (Field("source", ()), Field("target", ())))  # checks it
        self._check()

    @classmethod
    def from_iterable(
        cls,
        train: Iterable[tuple[str, str]],
        val: Iterable[tuple[str, str]] | None = None,
        test: Iterable[tuple[str, str]] | None = None,
        *,
        cache_dir: str | None = None,
        **settings: Any,
    ) -> ParallelData:
        """Return the data of pairs that something yields, as torchtext's data sets do.

        They are read once, and kept in the cache folder.

        Args:
            train: Sentences and their translations.
            val: Those of the validation.
            test: Those of the test.
            cache_dir: See the class.
            settings: The other arguments of the class.

        Raises:
            DataError: Something that is yielded is no pair of sentences.
        """
        parts = {"train": train, "val": val, "test": test}
        folder = cache_folder(cache_dir, kind="translation")
        files: dict[str, Any] = {
            part: str(kept_rows(_pair_rows(pairs, part), folder))
            for part, pairs in parts.items()
            if pairs is not None
        }
        return cls(**files, cache_dir=cache_dir, **settings)

    def _check(self) -> None:
        """Refuse what does not say, or says in two ways, where the sentences are."""
        if self.source == self.target:
            raise UsageError(
                f"source and target are both '{self.source}'; they have to be two names."
            )
        for part, (source, target) in self.sides.items():
            if (source is None) != (target is None):
                there, lacking = ("source", "target") if target is None else ("target", "source")
                raise UsageError(
                    f"{part}_{there} is given without {part}_{lacking}: name both files of a part."
                )
            if source is not None and self.tables[part] is not None:
                raise UsageError(
                    f"{part} and {part}_source are both given; a part comes from one of them."
                )
        forms = {
            "root": self.root is not None,
            "dataset": self.dataset is not None,
            "files": any(source is not None for source, _ in self.sides.values())
            or any(self.tables.values()),
        }
        if sum(forms.values()) != 1:
            given = " and ".join(form for form, is_given in forms.items() if is_given)
            raise UsageError(
                (
                    f"{given} are given together: sentences come from one of them."
                    if given
                    else "No sentences are given."
                )
                + " Name a folder by --data.root DIR --data.source de --data.target en, files by "
                "--data.train_source and --data.train_target (val_, test_), tables by --data.train "
                "(val, test), or a --data.dataset."
            )

    def pairs(self, part: Part) -> Pairs | None:
        """Return the pairs of a part, None where there is none.

        Before training, the files of all parts are looked for: what is missing is told then.

        Raises:
            DataError: A file that was named does not exist.
        """
        command = self.trainer.state.fn if self.trainer else None
        # what needs no other part finds no fault with it
        alone = self.spec_override is not None and command in ("validate", "test", "predict")
        for each in (part,) if alone else PARTS:
            if each not in self._found:
                self._found[each] = self._find(each)
        return self._found[part]

    def remedy(self, part: Part) -> str:
        """Return how to name a part."""
        if self.root is not None:
            return (
                f"Put it into '{self.root}', or say what it is called there: "
                f"--data.{part}_name NAME."
            )
        if self.dataset is not None:
            return f"Say which split it is: --data.{part}_name NAME."
        return (
            f"Name its files by --data.{part}_source and --data.{part}_target, or its table by "
            f"--data.{part}."
        )

    def _find(self, part: Part) -> Pairs | None:
        source, target = self.sides[part]
        if source is not None and target is not None:
            return self._two_files(source, target)
        table = self.tables[part]
        if table is not None:
            return table_pairs(table, self.source, self.target, self.columns)
        if self.dataset is not None:
            return self._split(self.dataset, part)
        return None if self.root is None else self._in_root(path_of(self.root), part)

    def _two_files(self, source: str, target: str) -> Pairs:
        if rereadable(source).samefile(rereadable(target)):
            raise DataError(
                f"'{source}' and '{target}' are the same file: the two sides are in two files."
            )
        return file_pairs(source, target)

    def _split(self, dataset: str, part: Part) -> Pairs | None:
        given = self.names[part]
        names = _NAMES[part] if given is None else (given,)
        for name in names:
            try:
                return dataset_pairs(
                    dataset,
                    self.dataset_config,
                    name,
                    self.source,
                    self.target,
                    option=f"{part}_name",
                )
            except DataError as error:
                if (
                    given is not None
                    or part == "train"
                    or "split" not in str(error).replace(dataset, "")
                ):
                    raise
        return None

    def _in_root(self, root: Path, part: Part) -> Pairs | None:
        if not root.is_dir():
            raise DataError(
                f"'{root}' is no folder."
                if root.exists()
                else missing_file(root.absolute(), str(root))
            )
        given = self.names[part]
        for name in _NAMES[part] if given is None else (given,):
            sides = [
                _file_of(root, f"{name}.{language}") for language in (self.source, self.target)
            ]
            there = [side for side in sides if side is not None]
            if len(there) == 2:
                return self._two_files(str(there[0]), str(there[1]))
            if there or given is not None or part == "train":
                language = self.source if sides[0] is None else self.target
                wanted = root / f"{name}.{language}"
                raise DataError(
                    f"{missing_file(wanted.absolute(), str(wanted))}\n"
                    f"{self._languages(root, name, part)}"
                )
        return None

    def _languages(self, root: Path, name: str, part: Part) -> str:
        """Return how to name what a folder has."""
        there = sorted(path.name for path in root.glob(f"{name}.*"))
        has = f"It has {', '.join(there[:6])}: " if there else ""
        way = f"--data.source and --data.target name the languages, --data.{part}_name the part"
        return f"{has}{way}; two files of any names: --data.{part}_source, --data.{part}_target."


def _pair_rows(pairs: Iterable[Any], part: str) -> Iterator[dict[str, str]]:
    for number, pair in enumerate(pairs):
        if not (
            isinstance(pair, tuple | list)
            and len(pair) == 2
            and all(isinstance(text, str) for text in pair)
        ):
            raise DataError(
                f"Item {number} of {part} is {quoted(pair)}; it has to be a pair of sentences."
            )
        yield {"source": pair[0].strip(), "target": pair[1].strip()}


def _file_of(root: Path, name: str) -> Path | None:
    """Return a file of a folder, compressed or not."""
    return next(
        (path for suffix in ("", *COMPRESSED) if (path := root / f"{name}{suffix}").is_file()), None
    )
