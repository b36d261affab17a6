"""Text for language models: any source, as parallel streams of characters or bytes.

Shapes: B rows, T steps of a chunk, N pairs of input and target.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, Literal, cast

from lightning.pytorch.utilities import rank_zero_info

from ...errors import DataError, UsageError, at_least, quoted
from ..arrays import ArrayFile
from ..base import DataModule
from ..cache import cache_folder
from ..formats.iterables import kept_rows, text_rows
from ..samplers import SamplerFactory
from ..sources import Source, builtin_source, dataset_source, path_source, text_source
from ..spec import TextSpec
from ..splits import Part, cut, shares
from ..vocabularies.lookup import Words
from ..vocabulary import Vocabulary, WordVocabulary, vocabulary_from_spec
from .corpus import Corpus, Units
from .dataset import StreamDataset
from .documents import Documents, counted, drawn_bounds
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
            (and no `dataset`, no `text`) for the built-in text: the source code of Python's own
            standard library, which differs between versions.
        pattern: Which files of a folder to take, sub-folders included: shell patterns with commas
            in between, for the names without `.gz` or `.xz`, in any capitals. Hidden files are left
            out. Each file is a document.
        dataset: Instead of a path, a data set of the `datasets` library: its name, a folder it was
            saved to, or a file (.json, .jsonl, .csv, .parquet, .txt). Each row is a document.
        dataset_config: Name of the data set's configuration, where it has several.
        dataset_split: Name of the data set's split; `val_fraction` and `test_fraction` are taken
            from it.
        column: Name of the data set's column with the text.
        streaming: Read the data set once, without keeping it on disk in its own format.
        units: Model `characters` (Unicode code points), `bytes`, `words` (what white space parts,
            and line ends), or `subwords` (byte-pair encoding of bytes, which loses nothing).
        vocabulary_size: Words or subwords at most. None: by the text, all words that occur twice,
            50,000 at most; a subword for each 400 characters, 32,000 at most.
        vocabulary: A file with the vocabulary of another program instead of the text's own: words
            as a `.txt` (one a line) or a `tokenizer.json` of them; subwords as a `tokenizer.json`
            of byte-pair encoding by bytes. Text is parted as it is here.
        encoding: How characters are encoded in the files, by Python's name for it; a byte-order
            mark of UTF-16 or UTF-32 says it by itself. No effect on bytes.
        normalize: Bring the text to Unicode's NFC, where an accented letter is one character
            however it was typed; a line says so where it was not. No effect on bytes.
        documents: What a document is: each of the `files` (each row of a data set), each of their
            `lines`, or each of their `paragraphs`, between blank lines. Lines and paragraphs are
            drawn for the parts one by one, equal ones for the same part.
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
        text: Instead of a path, the text itself: a few letters to try something with.
        spec: A checkpoint's spec: use its vocabulary. None for the text's own.

    Examples:
        >>> data = TextData(text="hello", batch_size=1, chunk_length=4)
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> data.spec["vocabulary"]["symbols"]
        'ehlo'
        >>> next(iter(data.train_dataloader())).input.shape
        torch.Size([1, 4])
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
        vocabulary_size: int | None = None,
        vocabulary: str | None = None,
        encoding: str = "utf-8",
        normalize: bool = True,
        documents: Documents = "files",
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        batch_size: int = 32,
        chunk_length: int = 64,
        vary_length: bool = False,
        num_workers: int = 0,
        seed: int = 0,
        unknown: Literal["error", "replace"] = "error",
        cache_dir: str | None = None,
        text: str | None = None,
        spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(num_workers=num_workers, seed=seed, spec=spec)
        if path == "" and (dataset is not None or text is not None):
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
        if text is not None and (path is not None or dataset is not None):
            other = f"path '{path}'" if path is not None else f"dataset '{dataset}'"
            raise UsageError(
                f"{other} and the text {quoted(text, 40)} are both given; a text comes from one of "
                "them: --data.text null takes the other."
            )
        if text == "":
            raise UsageError("The text is empty: give one of two characters or more.")
        if vocabulary_size is not None:
            at_least(2, vocabulary_size=vocabulary_size)
            if units not in ("words", "subwords"):
                raise UsageError(
                    f"vocabulary_size {vocabulary_size} is for units words and subwords: of "
                    f"{units} all are taken. Leave it out, or set units."
                )
        if vocabulary is not None and (units not in ("words", "subwords") or vocabulary_size):
            raise UsageError(
                f"vocabulary '{vocabulary}' is for units words and subwords, and has its own size: "
                "set --data.units to what it holds, and leave vocabulary_size out."
            )
        self.shares = shares(val_fraction, test_fraction)
        # checks them
        StreamSampler(0, batch_size=batch_size, chunk_length=chunk_length, vary_length=vary_length)
        self.path = path
        self.text = text
        self.pattern = pattern
        self.dataset = dataset
        self.dataset_config = dataset_config
        self.dataset_split = dataset_split
        self.column = column
        self.streaming = streaming
        self.units = units
        self.vocabulary_size = vocabulary_size
        self.vocabulary_file = vocabulary
        self.encoding = encoding
        self.normalize = normalize
        self.documents: Documents = documents
        self.batch_size = batch_size
        self.chunk_length = chunk_length
        self.vary_length = vary_length
        self.unknown: Literal["error", "replace"] = unknown
        self.cache_dir = cache_dir
        self._given: Vocabulary | None = None

    @classmethod
    def from_iterable(
        cls,
        texts: Iterable[str | Sequence[Any]],
        *,
        tokenizer: Callable[[str], Sequence[str]] | None = None,
        cache_dir: str | None = None,
        **settings: Any,
    ) -> TextData:
        """Return the data of texts that something yields, as torchtext's data sets do.

        They are read once, and kept in the cache folder; each is a document.

        Args:
            texts: The texts; of labels with their texts, the last is the text.
            tokenizer: Turns a text into words, between which spaces are put; None: it stays as it
                is.
            cache_dir: See the class.
            settings: The other arguments of the class.

        Raises:
            DataError: Something that is yielded is no text.
        """
        folder = cache_folder(cache_dir)
        rows = kept_rows(text_rows(texts, tokenizer), folder)
        return cls(dataset=str(rows), cache_dir=cache_dir, **settings)

    def use_words(self, words: Words) -> None:
        """Use given words instead of those of the text; others are unknown.

        Args:
            words: A `torchtext.vocab.Vocab`, or what has its `get_itos`.

        Raises:
            UsageError: `units` are not `words`.
        """
        if self.units != "words":
            raise UsageError(f"Words are given, and units are {self.units}: set units to words.")
        # of a word with white space in it, no text has any
        self._given = WordVocabulary(w for w in words.get_itos() if len(w.split()) == 1)

    def _source(self) -> Source:
        cache = cache_folder(self.cache_dir)
        if self.text is not None:
            return text_source(self.text)
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
            units = cast(Units, self.vocabulary.kind)
        corpus = Corpus(
            self._source(),
            units=units,
            encoding=self.encoding,
            documents=self.documents,
            shares=self.shares,
            size=self.vocabulary_size,
            normalize=self.normalize,
            cache=cache_folder(self.cache_dir),
        )
        survey = corpus.survey()
        different = f", {len(survey['counts'])} different" if survey["counts"] else ""
        rank_zero_info(
            f"Text: {corpus.source.name}: {survey['symbols']:,} "
            f"{'bytes' if units == 'bytes' else 'characters'}{different}, "
            f"{survey['documents']:,} document(s), SHA-256 {survey['sha256']}"
        )
        if corpus.source.told:
            rank_zero_info(f"Text: {corpus.source.told}")
        if (fewer := survey["composed"]) is not None:
            way = "shorter" if fewer > 0 else "longer"
            made = f"made it {abs(fewer):,} characters {way}" if fewer else "changed single signs"
            rank_zero_info(
                f"Text: brought to Unicode's NFC, which {made}: there an accented letter, or a "
                "sign that has two codes, is one character (--data.normalize false leaves the text)"
            )
        return corpus

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary: the checkpoint's where one was given, else that of the whole text."""
        return vocabulary_from_spec(self.spec["vocabulary"])

    def own_spec(self) -> dict[str, Any]:
        """Return the vocabulary as plain data, a `TextSpec`."""
        if self.vocabulary_file is not None:
            from .tokens import given_vocabulary  # imports `tokenizers`

            self._given = given_vocabulary(self.vocabulary_file, self.units)
        if self._given is not None:
            return dict(TextSpec(vocabulary=self._given.to_spec()))
        return dict(TextSpec(vocabulary=self.corpus.vocabulary().to_spec()))

    @cached_property
    def tokens(self) -> ArrayFile:
        """The whole text as ids, memory-mapped."""
        tokens = self.corpus.tokens(self.vocabulary, unknown=self.unknown)
        vocabulary = self.vocabulary
        if vocabulary.kind in ("words", "subwords"):
            told = f"{len(tokens):,} {vocabulary.kind}, {vocabulary.size:,} different"
            if isinstance(vocabulary, WordVocabulary):
                unknown = counted(tokens, vocabulary.UNKNOWN)
                told += f"; {unknown:,} ({unknown / len(tokens):.1%}) are unknown"
            rank_zero_info(f"Text: {told}")
        return tokens

    def prepare_data(self) -> None:
        """Encode the text, so that the other processes find it done."""
        self.corpus.tokens(self.vocabulary, unknown=self.unknown)

    def bounds(self, part: Part) -> tuple[int, int]:
        """Return a part's first pair and the one after its last, as positions in `tokens`."""
        return self._bounds[part]

    @cached_property
    def _bounds(self) -> dict[Part, tuple[int, int]]:
        """Where the parts lie; of a text too short for the shares asked for, all is for training.

        Raises:
            DataError: It is, and nothing was to be for training.
        """
        total = len(self.tokens) - 1
        documents = self.corpus.survey()["parts"]
        bounds = (
            drawn_bounds(self.tokens, self.vocabulary.END, documents)
            if documents
            else cut(total, self.shares)
        )
        empty = [part for part, (first, end) in bounds.items() if first == end]
        lacking = [part for part in empty if self.shares[part]]
        if not lacking or (documents and "train" not in lacking):
            for part in lacking:
                rank_zero_info(f"Text: no document was drawn for the {part} part: there is none.")
            return bounds
        if not self.shares["train"]:
            raise DataError(f"{self._too_short(lacking[0])}")
        rank_zero_info(
            f"Text: {self._too_short(lacking[0])}: all of it is for training, and there is no "
            "validation or test part."
        )
        return {"train": (0, total), "val": (total, total), "test": (total, total)}

    def _too_short(self, part: Part) -> str:
        return (
            f"{self.corpus.source.name} has {len(self.tokens) - 1:,} symbols, and the {part} share "
            f"of {self.shares[part]} comes to none"
        )

    def fingerprint(self) -> str:
        """Return the beginning of the SHA-256 of the whole text."""
        return self.corpus.survey()["sha256"][:16]

    def remedy(self, part: Part) -> str:
        """Return what to do about an empty part, as a sentence."""
        if part == "train" or not self.shares[part]:
            return super().remedy(part)
        return (
            f"{self._too_short(part)}: use a longer text, or all of it, "
            f"--data.{part}_fraction 1 --data.{'test' if part == 'val' else 'val'}_fraction 0."
        )

    def inputs(self, part: Part) -> Sequence[str]:
        """Return the names of the documents that a part begins in and goes on to."""
        count = self.corpus.survey()["documents"]
        if self.documents != "files" or not 1 < count <= _NAMED:
            return ()
        names = [document.name for document in self.corpus.source.documents()]
        if len(names) != count:  # an empty one is no document of the text
            return ()
        first, _ = self.bounds(part)
        return names[counted(self.tokens, self.vocabulary.END, first + 1) - 1 :]

    def contents(self, part: Part) -> tuple[StreamDataset, SamplerFactory] | None:
        """Return the pairs of a part and their order, None where its share is 0."""
        first, end = self.bounds(part)
        length = end - first
        if not length:
            return None
        train = part == "train"
        rows, steps, varied = self.batch_size, self.chunk_length, self.vary_length and train
        fitting = length // (steps * self.world_size)
        if fitting < rows:
            # a short part in few streams, so that little of it lacks its context
            rows = max(1, fitting)
            if train:
                steps = min(steps, length // self.world_size)
                varied = varied and steps == self.chunk_length
                self._tell_short(length, rows, steps)
        return StreamDataset(self.tokens, first, length), partial(
            StreamSampler, length, batch_size=rows, chunk_length=steps, vary_length=varied
        )

    def _tell_short(self, length: int, rows: int, steps: int) -> None:
        if not steps:
            raise DataError(
                f"{self.corpus.source.name} leaves {length} symbols for training, fewer than the "
                f"{self.world_size} processes. Use a longer text, or fewer processes."
            )
        rank_zero_info(
            f"Text: {length:,} symbols for training are read in {rows} stream(s) and chunks of "
            f"{steps}: too few for batch_size {self.batch_size} x chunk_length {self.chunk_length}."
        )
