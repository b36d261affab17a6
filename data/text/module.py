"""Text for language models: any source, as parallel streams of characters or bytes.

Shapes: B rows, T steps of a chunk, N pairs of input and target.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, Literal

from lightning.pytorch.utilities import rank_zero_info

from ...errors import DataError, UsageError
from ..arrays import ArrayFile
from ..base import DataModule
from ..cache import cache_folder
from ..samplers import SamplerFactory
from ..sources import Source, builtin_source, dataset_source, path_source
from ..spec import TextSpec
from ..splits import Part, cut, shares
from ..vocabulary import Vocabulary, vocabulary_from_spec
from .corpus import Corpus, Units
from .dataset import StreamDataset
from .sampler import StreamSampler

_NAMED = 100_000  # documents at most whose names are told


class TextData(DataModule):
    """A text, split into contiguous training, validation and test parts, in this order.

    The vocabulary is that of the whole text. The text is encoded once into a file in the cache;
    memory does not grow with it. Each validation or test part is scored from its first character to
    its last, given the character before. Evaluation reads the part in B parallel streams too, so
    its first predictions in B places are made without context; `batch_size=1` reads it as one.

    Args:
        path: A file, a folder, or `-` for standard input; `.gz` and `.xz` are decompressed. None
            (and no `dataset`) for the built-in text: the source code of Python's own standard
            library, which differs between versions.
        pattern: Which files of a folder to take, sub-folders included: shell patterns with commas
            in between, for the names without `.gz` or `.xz`. Hidden files are left out. Each file
            is a document.
        dataset: Instead of a path, a data set of the `datasets` library: its name, a folder it was
            saved to, or a file (.json, .jsonl, .csv, .parquet, .txt). Each row is a document.
        dataset_config: Name of the data set's configuration, where it has several.
        dataset_split: Name of the data set's split; `val_fraction` and `test_fraction` are taken
            from it.
        column: Name of the data set's column with the text.
        streaming: Read the data set once, without keeping it on disk in its own format.
        units: Model `characters` (Unicode code points) or `bytes`.
        encoding: How characters are encoded in the files, by Python's name for it. No effect on
            bytes.
        val_fraction: Share of the text for validation; 0 for none.
        test_fraction: Share of the text for the test, at the end; 0 for none.
        batch_size: B, parallel streams in each process.
        chunk_length: T, symbols of each stream in a batch; gradients reach back as far.
        vary_length: Draw each chunk's length around `chunk_length` in training, as AWD-LSTM does.
        num_workers: Processes that prepare batches ahead. The main process is fast enough, save for
            very slow disks.
        seed: Start of the pseudo-random numbers that say where each epoch begins.
        unknown: What to do with characters that the checkpoint's vocabulary lacks: `error`, or
            `replace` them all by one unknown symbol.
        cache_dir: Folder for encoded texts; None for UNROLLED_CACHE or the user's cache folder.
        spec: A checkpoint's spec: use its vocabulary. None for the text's own.
    """

    spec_form = TextSpec

    def __init__(
        self,
        path: str | None = None,
        *,
        pattern: str = "*.txt",
        dataset: str | None = None,
        dataset_config: str | None = None,
        dataset_split: str = "train",
        column: str = "text",
        streaming: bool = False,
        units: Units = "characters",
        encoding: str = "utf-8",
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        batch_size: int = 32,
        chunk_length: int = 64,
        vary_length: bool = False,
        num_workers: int = 0,
        seed: int = 0,
        unknown: Literal["error", "replace"] = "error",
        cache_dir: str | None = None,
        spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(num_workers=num_workers, seed=seed, spec=spec)
        if path == "" and dataset is not None:
            path = None
        if path == "":
            raise UsageError(
                "Which text? --data.path FILE, a folder, or - for standard input; or "
                "--data.dataset NAME."
            )
        if path is not None and dataset is not None:
            raise UsageError(
                f"path '{path}' and dataset '{dataset}' are both given; a text comes from one of "
                "them."
            )
        self.shares = shares(val_fraction, test_fraction)
        # checks them
        StreamSampler(0, batch_size=batch_size, chunk_length=chunk_length, vary_length=vary_length)
        self.path = path
        self.pattern = pattern
        self.dataset = dataset
        self.dataset_config = dataset_config
        self.dataset_split = dataset_split
        self.column = column
        self.streaming = streaming
        self.units = units
        self.encoding = encoding
        self.batch_size = batch_size
        self.chunk_length = chunk_length
        self.vary_length = vary_length
        self.unknown: Literal["error", "replace"] = unknown
        self.cache_dir = cache_dir

    def _source(self) -> Source:
        cache = cache_folder(self.cache_dir)
        if self.dataset is not None:
            return dataset_source(
                self.dataset,
                config=self.dataset_config,
                split=self.dataset_split,
                column=self.column,
                streaming=self.streaming,
                cache=cache,
            )
        return (
            builtin_source() if self.path is None else path_source(self.path, self.pattern, cache)
        )

    @cached_property
    def corpus(self) -> Corpus:
        """The text; its survey is logged when first asked for."""
        units = self.units
        if self.spec_override is not None:
            units = "bytes" if self.vocabulary.kind == "bytes" else "characters"
        corpus = Corpus(
            self._source(), units=units, encoding=self.encoding, cache=cache_folder(self.cache_dir)
        )
        survey = corpus.survey()
        different = f", {len(survey['counts'])} different" if survey["counts"] else ""
        rank_zero_info(
            f"Text: {corpus.source.name}: {survey['symbols']:,} {units}{different}, "
            f"{survey['documents']:,} document(s), SHA-256 {survey['sha256']}"
        )
        return corpus

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary: the checkpoint's where one was given, else that of the whole text."""
        return vocabulary_from_spec(self.spec["vocabulary"])

    def own_spec(self) -> dict[str, Any]:
        """Return the vocabulary as plain data, a `TextSpec`."""
        return dict(TextSpec(vocabulary=self.corpus.vocabulary().to_spec()))

    @cached_property
    def tokens(self) -> ArrayFile:
        """The whole text as ids, memory-mapped."""
        return self.corpus.tokens(self.vocabulary, unknown=self.unknown)

    def prepare_data(self) -> None:
        """Encode the text, so that the other processes find it done."""
        self.corpus.tokens(self.vocabulary, unknown=self.unknown)

    def bounds(self, part: Part) -> tuple[int, int]:
        """Return a part's first pair and the one after its last, as positions in `tokens`.

        Raises:
            DataError: If a share of the text was asked for and it comes to nothing.
        """
        total = len(self.tokens) - 1
        first, end = cut(total, self.shares)[part]
        if first == end and self.shares[part]:
            raise DataError(
                f"{self.corpus.source.name} has {total} symbols, and the {part} share of "
                f"{self.shares[part]} comes to none.\nUse a longer text, or another "
                "--data.val_fraction and --data.test_fraction (0 for no such part)."
            )
        return first, end

    def inputs(self, part: Part) -> Sequence[str]:
        """Return the names of the documents that a part begins in and goes on to."""
        count = self.corpus.survey()["documents"]
        if not 1 < count <= _NAMED:
            return ()
        names = [document.name for document in self.corpus.source.documents()]
        if len(names) != count:  # an empty one is no document of the text
            return ()
        first, _ = self.bounds(part)
        return names[int((self.tokens[: first + 1] == 0).sum()) - 1 :]

    def contents(self, part: Part) -> tuple[StreamDataset, SamplerFactory] | None:
        """Return the pairs of a part and their order, None where its share is 0."""
        first, end = self.bounds(part)
        length = end - first
        if not length:
            return None
        train = part == "train"
        rows = self.batch_size
        fitting = length // (self.chunk_length * self.world_size)
        if train:
            self._check_length(length, fitting)
        else:
            # a short part in few streams, so that little of it lacks its context
            rows = min(rows, max(1, fitting))
        return StreamDataset(self.tokens, first, length), partial(
            StreamSampler,
            length,
            batch_size=rows,
            chunk_length=self.chunk_length,
            vary_length=self.vary_length and train,
        )

    def _check_length(self, length: int, fitting: int) -> None:
        if fitting >= self.batch_size:
            return
        processes = f" x {self.world_size} processes" if self.world_size > 1 else ""
        remedy = (
            f"--data.batch_size {fitting}"
            if fitting
            else f"--data.batch_size 1 --data.chunk_length {length // self.world_size}"
            if length >= self.world_size
            else "fewer processes"
        )
        raise DataError(
            f"{self.corpus.source.name} leaves {length} symbols for training; one batch takes "
            f"batch_size {self.batch_size} x chunk_length {self.chunk_length}{processes} = "
            f"{self.batch_size * self.chunk_length * self.world_size}. Use a longer text, or "
            f"{remedy}."
        )
