"""What all data for translation share: subwords, pairs as ids, batches of similar length."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor

from ...errors import DataError, UsageError, at_least
from ..base import DataModule
from ..cache import cache_folder, cached_json, key_of
from ..samplers import SamplerFactory
from ..spec import Kind, SubwordsSpec, TranslationSpec, WordTokenizer
from ..splits import PARTS, Part
from ..tokenizer import KINDS, Subwords
from ..vocabularies.given import read_vocabulary
from ..vocabularies.lookup import Words
from ..vocabularies.training import OFTEN
from .checks import PairChecks, check_pairs, symbol_doubts
from .dataset import PairFiles, encode_pairs
from .pairs import Pairs
from .sampler import BucketSampler, check_budget

_FORMAT = 1  # of vocabularies in the cache: raise it when they are trained otherwise
_CHARACTERS = 20  # of a subword at most, as far as subword training is concerned
_EVALUATED = 10  # evaluation reads sentences that are so many times longer than training does


class _Sentences:
    """What subwords are trained on: not what is no sentence, and so left out of training too."""

    def __init__(self, pairs: Pairs, sides: tuple[int, ...], longest: int) -> None:
        self._pairs = pairs
        self._sides = sides
        self._longest = longest

    def __iter__(self) -> Iterator[str]:
        for pair in self._pairs.read():
            if all(
                0 < len(text.split()) <= self._longest >= len(text) / _CHARACTERS for text in pair
            ):
                yield from (pair[side] for side in self._sides)


class TranslationData(DataModule):
    """Pairs of sentences. A subclass says which, by `pairs`.

    Args:
        kind: `bpe` or `unigram` subwords, or whole words (`word`), which can't be put back together
            exactly.
        tokenizer: How `word` parts text: `treebank`, as the Penn Treebank; `spaces`, by white space
            alone; `basic_english`, as torchtext's, in lower case.
        vocabulary_size: Subwords of each vocabulary at most, four special ones included; None: by
            the training part, as `Subwords.train` does.
        vocabulary: A file with the vocabulary of another program, see `read_vocabulary`, or two
            with a comma in between, of the source and of the target. None: it is trained.
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
        cache_dir: Folder for what is prepared; None for UNROLLED_CACHE or the user's cache folder.
        spec: A checkpoint's spec: use its vocabularies. None to train them.
    """

    spec_form = TranslationSpec
    correct: ClassVar[bool] = False  # whether the pairs are as they should be by construction

    def __init__(
        self,
        *,
        kind: Kind,
        tokenizer: WordTokenizer = "treebank",
        vocabulary_size: int | None,
        vocabulary: str | None = None,
        joint_vocabulary: bool,
        lowercase: bool,
        max_length: int,
        batch_size: int | None,
        batch_tokens: int | None,
        num_workers: int,
        seed: int,
        cache_dir: str | None,
        spec: dict[str, Any] | None,
    ) -> None:
        super().__init__(num_workers=num_workers, seed=seed, spec=spec)
        if kind not in KINDS:
            raise UsageError(f"kind is '{kind}'; it has to be one of {', '.join(KINDS)}.")
        at_least(8, vocabulary_size=vocabulary_size)
        at_least(1, max_length=max_length)
        check_budget(batch_size, batch_tokens)
        if tokenizer != "treebank" and kind != "word":
            raise UsageError(
                f"tokenizer {tokenizer} parts text into whole words: add --data.kind word."
            )
        self.kind = kind
        self.tokenizer = tokenizer
        self.given: dict[str, Subwords] = {}
        if vocabulary is not None and vocabulary_size is not None:
            raise UsageError(
                f"vocabulary_size {vocabulary_size} is of a vocabulary that is trained, and "
                f"'{vocabulary}' is given: leave the one or the other out."
            )
        self.vocabulary_size = vocabulary_size
        self.vocabulary_files = vocabulary
        self.joint_vocabulary = joint_vocabulary
        self.lowercase = lowercase
        self.max_length = max_length
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.cache_dir = cache_dir
        self._files: dict[Part, PairFiles] = {}

    @abstractmethod
    def pairs(self, part: Part) -> Pairs | None:
        """Return the pairs of a part, None where there is none."""

    def inputs(self, part: Part) -> Sequence[str]:
        """Return the sources as they were read; evaluation leaves none out."""
        pairs = self.pairs(part)
        return [] if pairs is None else [source for source, _ in pairs.read()]

    @property
    def _cache(self) -> Path:
        return cache_folder(self.cache_dir, kind="translation")

    @cached_property
    def vocabularies(self) -> tuple[Subwords, Subwords]:
        """The source's and the target's subwords, one and the same if joint."""
        spec = self.spec
        source = Subwords.from_spec(spec["source"])
        return source, source if spec["joint"] else Subwords.from_spec(spec["target"])

    def own_spec(self) -> dict[str, Any]:
        """Return the subwords of the training part as plain data, a `TranslationSpec`."""
        if self.vocabulary_files is not None:
            self._take(self.vocabulary_files)
        if self.given:
            source, target = (self.given[side].to_spec() for side in ("source", "target"))
            return {"source": source, "target": target, "joint": source == target}
        pairs = self._required("train")
        settings = [
            self.kind,
            self.vocabulary_size,
            self.joint_vocabulary,
            self.lowercase,
            self.max_length,
            *([self.tokenizer] if self.tokenizer != "treebank" else []),
        ]
        file = self._cache / f"vocabulary-{key_of(_FORMAT, pairs.identity, settings)}.json"
        spec: dict[str, Any] = cached_json(file, lambda: self._train_vocabularies(pairs))
        return spec

    def _take(self, files: str) -> None:
        """Take the vocabularies of files."""
        names = [name.strip() for name in files.split(",")]
        if len(names) > 2 or not all(names):
            raise UsageError(
                f"vocabulary is '{files}'; it has to be a file, or the source's and the target's "
                "with a comma in between."
            )
        for side, name in zip(("source", "target"), names * (3 - len(names)), strict=True):
            if len(names) == 1 and side == "target":
                self.given[side] = self.given["source"]
                continue
            found = read_vocabulary(name)
            if found.kind == "word" and self.tokenizer != "treebank":
                found = found._replace(form=found.form._replace(tokenizer=self.tokenizer))
            self.given[side] = Subwords.from_given(found, lowercase=self.lowercase)
            which = "" if len(names) == 1 else f" of the {side}"
            rank_zero_info(f"Vocabulary{which}: '{name}': {found.told}")

    def use_words(self, source: Words, target: Words) -> None:
        """Use given words instead of those of the training part; others are unknown.

        Args:
            source: The source's words: a `torchtext.vocab.Vocab`, or what has its `get_itos`.
            target: The target's.

        Raises:
            UsageError: `kind` is not `word`.
        """
        if self.kind != "word":
            raise UsageError(f"Words are given, and kind is {self.kind}: set kind to word.")
        self.given = {
            side: Subwords.of_words(
                words.get_itos(), tokenizer=self.tokenizer, lowercase=self.lowercase
            )
            for side, words in (("source", source), ("target", target))
        }

    def _train_vocabularies(self, pairs: Pairs) -> TranslationSpec:
        def trained(*sides: int) -> SubwordsSpec:
            texts = _Sentences(pairs, sides, self.max_length)
            if next(iter(texts), None) is None:
                raise DataError(f"{pairs.name}: there is no pair of sentences to train on.")
            vocabulary = Subwords.train(
                texts,
                kind=self.kind,
                size=self.vocabulary_size,
                lowercase=self.lowercase,
                tokenizer=self.tokenizer,
            )
            return vocabulary.to_spec()

        if self.joint_vocabulary:
            joint = trained(0, 1)
            return {"source": joint, "target": joint, "joint": True}
        return {"source": trained(0), "target": trained(1), "joint": False}

    def _required(self, part: Part) -> Pairs:
        pairs = self.pairs(part)
        if pairs is None:
            raise DataError(f"There is no {part} part, and it is needed. {self.remedy(part)}")
        return pairs

    def files(self, part: Part) -> PairFiles | None:
        """Return the encoded pairs of a part, None where there is none; told of the first time."""
        if part not in self._files:
            pairs = self.pairs(part)
            if pairs is None:
                return None
            train = part == "train"
            longest = self.max_length * (1 if train else _EVALUATED)
            self._files[part] = encode_pairs(
                pairs, *self.vocabularies, self._cache, longest=longest, train=train
            )
            self._tell(part, pairs, self._files[part])
        return self._files[part]

    def training_symbols(self, most: int) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Return pairs of the training part as ids: all, or some evenly spread ones.

        Args:
            most: Links at most, the sum of the pairs' products of lengths.

        Returns:
            The sources' ids one after another, how many each has, and the targets' likewise, end
            symbols included; None where there is no training part.
        """
        files = self.files("train")
        return None if files is None else files.symbols(most)

    def _tell(self, part: Part, pairs: Pairs, files: PairFiles) -> None:
        survey = files.survey
        kinds = {
            "empty": survey["empty"],
            f"longer than {self.max_length}": survey["long"] if part == "train" else (0, []),
        }
        named = [
            f"{count:,} {kind} ({pairs.where(first, count)})"
            for kind, (count, first) in kinds.items()
            if count
        ]
        left = f"; {'left out' if part == 'train' else 'kept'}: {', '.join(named)}" if named else ""
        source, target = (each.size for each in self.vocabularies)
        sizes = (
            f"{source:,} subwords" if self.spec["joint"] else f"{source:,} and {target:,} subwords"
        )
        if pairs.told:
            rank_zero_info(pairs.told)
        rank_zero_info(f"Pairs ({part}): {pairs.name}: {len(files):,}, {sizes}{left}")
        if part == "train" and self._trains and self.vocabulary_size is None:
            self._tell_size()
        count, first = survey["same"]
        if not self.correct and count > len(files) / 20:
            rank_zero_warn(
                f"{pairs.name}: in {count:,} of {len(files):,} pairs source and target are the "
                f"same text ({pairs.where(first, count)}). Are these the files of two languages?"
            )

    @property
    def _trains(self) -> bool:
        """Whether the vocabularies are made from the training part."""
        return self.spec_override is None and not self.given and self.vocabulary_files is None

    def symbol_doubts(self, part: Part, files: PairFiles) -> list[str]:
        """Say what is doubtful about the symbols of a part, a sentence each.

        Args:
            part: The part.
            files: Its pairs.
        """
        # of a checkpoint's or of given words nobody chose the number here
        chosen = self.vocabulary_size if self._trains else None
        return symbol_doubts(files, part, self.vocabularies, chosen)

    def _tell_size(self) -> None:
        if self.kind == "word":
            return
        told = []
        for vocabulary in dict.fromkeys(self.vocabularies):
            pieces = vocabulary.get_itos()[Subwords.UNKNOWN + 1 :]
            letters = sum(len(piece) == 1 for piece in pieces)
            longer = len(pieces) - letters
            told.append(f"{letters:,} characters and {longer:,} pieces of several")
        often = f" that occur {OFTEN} times or more" if self.kind == "bpe" else ""
        rank_zero_info(
            f"The training part sizes its subwords: {' / '.join(told)}{often}; "
            "--data.vocabulary_size sets their number."
        )

    def prepare_data(self) -> None:
        """Train the subwords and encode what the run needs, for the other processes to find.

        Before training that is every part: a mistake in the test part is told then, not after it.
        """
        command = self.trainer.state.fn if self.trainer else None
        if command in ("validate", "test", "predict"):
            self.files("val" if command == "validate" else "test")
            return
        train = self.files("train")
        if train is None:
            return
        for part in PARTS:
            files = self.files(part)
            if files is None or self.correct:
                continue
            if part != "train":
                self._warn(part, check_pairs(train, files, self.vocabularies[0], self._cache))
            for doubt in self.symbol_doubts(part, files):
                rank_zero_info(f"Warning: {doubt}")

    def _warn(self, part: Part, checks: PairChecks) -> None:
        """Say what looks wrong about a part."""
        # with another translation it is a leak as well: the model has seen the question
        if checks["sources"] > checks["pairs"] / 100:
            rank_zero_warn(
                f"{checks['sources']:,} of the {checks['pairs']:,} {part} sources are in the "
                f"training part as well, {checks['shared']:,} of them with the same translation: "
                f"their {part} score says little about new sentences."
            )
        if checks["swapped"] > checks["sampled"] / 5:
            rank_zero_warn(
                f"{checks['swapped']:,} of {checks['sampled']:,} {part} sources that were looked "
                "at read like the training part's targets: are the two sides exchanged?"
            )

    def fingerprint(self) -> str:
        """Return what changes with the pairs to learn from, but for capitals and blanks."""
        files = self.files("train")
        return "" if files is None else sha256(files.digests[1].tobytes()).hexdigest()[:16]

    def contents(self, part: Part) -> tuple[PairFiles, SamplerFactory] | None:
        """Return the encoded pairs of a part and their order, None where there are none."""
        files = self.files(part)
        if files is None:
            return None
        return files, partial(
            BucketSampler,
            files.lengths,
            batch_size=self.batch_size,
            batch_tokens=self.batch_tokens,
        )
