"""The built-in data for translation: sentences composed from the Unicode CLDR, through Babel."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any, ClassVar

import babel
from babel import Locale, localedata

from ....errors import DataError, UsageError, at_least, did_you_mean
from ...spec import Kind
from ...splits import Part
from ..base import TranslationData
from ..pairs import Pairs
from .sentences import Atom, Composer, Sentence

_FORMAT = 1  # of the sentences: raise it when other ones are composed
_PATIENCE = 20  # a language that gives fewer than one new sentence out of so many has too few words
# sentences in a row with a word that the training part lacks: it has too few of them
_TRIES = 10_000


class CLDRData(TranslationData):
    """Sentences in any two languages of Babel: names, dates, times, amounts, and lists of them.

    There is exactly one translation of each source. Every word that validation and test have is in
    the training part; none of their sentences is. The sentences depend on the languages, the sizes,
    the seed and the version of Babel.

    Args:
        source: Source language, by its CLDR name: `de`, `pt_BR`, `zh_Hant`.
        target: Target language.
        num_sentences: Pairs to train on.
        num_val: Pairs of the validation.
        num_test: Pairs of the test.
        kind: `bpe` or `unigram` subwords, or whole words (`word`), which can't be put back together
            exactly.
        vocabulary_size: Subwords of each vocabulary at most, four special ones included.
        joint_vocabulary: One vocabulary for both languages.
        lowercase: Bring all text to lower case; the references of the scores stay as they are.
        max_length: Subwords of a sentence in training at most.
        batch_size: Pairs of a batch in each process; null where `batch_tokens` says it.
        batch_tokens: Instead of that, the budget of a batch in each process: pairs times the
            longest sentence of either side, in subwords.
        num_workers: Processes that prepare batches ahead. The main process is fast enough.
        seed: Start of the pseudo-random numbers of the sentences and of their order.
        cache_dir: Folder for what is prepared; null for UNROLLED_CACHE or the user's cache folder.
        spec: A checkpoint's spec: use its vocabularies. None to train them.

    Raises:
        UsageError: There is no such language, or a setting is out of its range.

    Examples:
        >>> data = CLDRData("de", "en", num_sentences=20, num_val=2, num_test=2)
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> len(next(iter(data.val_dataloader())).reference)
        2
    """

    correct: ClassVar[bool] = True

    def __init__(
        self,
        source: str = "de",
        target: str = "en",
        *,
        num_sentences: int = 30000,
        num_val: int = 1000,
        num_test: int = 1000,
        kind: Kind = "bpe",
        vocabulary_size: int = 4000,
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
            vocabulary_size=vocabulary_size,
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
        self.locales = _locale("source", source), _locale("target", target)
        if self.locales[0] == self.locales[1]:
            raise UsageError(
                f"source and target are both {self.locales[0]}; they have to be two languages."
            )
        at_least(1, num_sentences=num_sentences)
        at_least(0, num_val=num_val, num_test=num_test)
        self.sizes: dict[Part, int] = {"train": num_sentences, "val": num_val, "test": num_test}

    def remedy(self, part: Part) -> str:
        """Return how to get a part."""
        return f"Set --data.{'num_sentences' if part == 'train' else f'num_{part}'} above 0."

    def pairs(self, part: Part) -> Pairs | None:
        """Return the pairs of a part, None where none were asked for."""
        if not self.sizes[part]:
            return None
        label = f"CLDR {babel.__version__} {part}"
        sides = f"{label} ({self.locales[0]})", f"{label} ({self.locales[1]})"
        settings = [*map(str, self.locales), list(self.sizes.values()), self.seed]
        identity = ["cldr", _FORMAT, babel.__version__, *settings, part]
        return Pairs(sides, identity, partial(self._read, part), "sentence")

    def _read(self, part: Part) -> Iterator[tuple[str, str]]:
        return ((sentence.source, sentence.target) for sentence in self.sentences[part])

    def prepare_data(self) -> None:
        """Compose and encode the sentences, so that the other processes find it done."""
        super().prepare_data()
        # the files have them; they would stay in memory during the whole run
        self.__dict__.pop("sentences", None)

    @cached_property
    def sentences(self) -> dict[Part, list[Sentence]]:
        """The sentences of all parts, made anew; what is encoded in the cache needs them not."""
        composed = Composer(*self.locales, self.seed).sentences()
        seen: set[str] = set()
        train = list(itertools.islice(self._new(composed, seen), self.sizes["train"]))
        known = {atom for sentence in train for atom in sentence.atoms}
        held_out = self._of_words(known, self._new(composed, seen))
        return {
            "train": train,
            **{
                part: list(itertools.islice(held_out, self.sizes[part])) for part in ("val", "test")
            },
        }

    def _of_words(self, known: set[Atom], sentences: Iterator[Sentence]) -> Iterator[Sentence]:
        """Yield the sentences that are made of known words."""
        found = vain = 0
        for sentence in sentences:
            if sentence.atoms <= known:
                found, vain = found + 1, 0
                yield sentence
            elif (vain := vain + 1) > _TRIES:
                raise DataError(
                    f"The words of {self.sizes['train']:,} training sentences make {found:,} "
                    "sentences for validation and test, and "
                    f"{self.sizes['val'] + self.sizes['test']:,} are asked for. Ask for more "
                    "sentences to train on, --data.num_sentences, or for fewer of the others, "
                    "--data.num_val and --data.num_test."
                )

    def _new(self, composed: Iterator[Sentence], seen: set[str]) -> Iterator[Sentence]:
        """Yield the sentences that have not been there."""
        vain = 0
        for sentence in composed:
            if sentence.source in seen:
                vain += 1
                if vain > _PATIENCE * (100 + len(seen)):
                    raise DataError(
                        f"CLDR has too few words of '{self.locales[0]}' and '{self.locales[1]}' "
                        f"for so many sentences: {len(seen)} were found. Ask for fewer: "
                        "--data.num_sentences."
                    )
                continue
            seen.add(sentence.source)
            yield sentence


def _locale(name: str, given: str) -> Locale:
    try:
        return Locale.parse(given.replace("-", "_"))
    except (ValueError, babel.UnknownLocaleError, TypeError) as error:
        near = did_you_mean(given, localedata.locale_identifiers())
        raise UsageError(
            f"{name}: Babel knows no language '{given}'.{near} Names are like de, pt_BR or zh_Hant."
        ) from error
