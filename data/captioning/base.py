"""What the data modules of captioning share: images with their captions, words, features.

Shapes: N images, P places of a grid, D features, S side of a picture.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from ...errors import UsageError, at_least
from ..arrays import ArrayFile, kept_features
from ..base import DataModule
from ..cache import cache_folder, cached_json, key_of
from ..formats.letters import unspaced_share
from ..samplers import ItemSampler, SamplerFactory
from ..spec import CaptionSpec, WordTokenizer
from ..splits import Part
from ..tokenizer import Subwords
from ..vocabularies.given import read_vocabulary
from ..vocabularies.lookup import Words
from .dataset import Augmentation, CaptionDataset, PictureStore, encode_captions
from .pictures import View

Units = Literal["words", "characters", "subwords"]
_FORMAT = 1  # of vocabularies in the cache
_ENCODED_AT_ONCE = 64
_SUBWORDS = 4000  # at most; captions have some ten thousand words
_CHARACTERS = 60_000  # half of it different ones, more than any language has
_NEVER = 2**31 - 1  # more than anything is counted


class ImageName(NamedTuple):
    """What an image is called.

    Attributes:
        id: The data set's number of it, or its name; its place in the part where it has neither.
        image: The name of its file; None where it has none.
    """

    id: int | str
    image: str | None = None


@runtime_checkable
class CaptionKnowledge(Protocol):
    """What a captioning task asks of its data module, beside batches; `CaptioningData` has it all.

    A task asks by `isinstance`: with a data module that lacks one of these it does without them.
    """

    def references(self, part: Part) -> list[tuple[str, ...]]:
        """Return the captions of each image of a part, as they were written, by its number."""

    def judge(self, part: Part, number: int, caption: str) -> bool | None:
        """Say whether a caption is exactly right, None where the data can't tell.

        Args:
            part: The image's part.
            number: The image's number.
            caption: What a model says.
        """

    def use_features(self, encode: Callable[[Tensor], Tensor], key: Callable[[], str]) -> None:
        """Hear how features are made of pictures, for a user who wants them kept.

        Args:
            encode: Turns pictures (n, 3, S, S) uint8 into features (n, P, D).
            key: Names everything that the features depend on, save the pictures: backbone, weights,
                preprocessing.
        """


class CaptioningData(DataModule):
    """Images with sentences about them, a `CaptionKnowledge`.

    A subclass says which images and captions a part has.

    Args:
        image_size: S, the side of the square pictures, in pixels.
        min_count: Words that are rarer in the training captions are unknown.
        batch_size: Images in a batch of one process; each comes with all its captions.
        captions_per_image: So many captions of each image in a training batch, drawn anew each
            epoch; None: all.
        num_workers: Processes that prepare batches ahead.
        seed: Start of the pseudo-random numbers.
        cache_dir: Folder for what is kept; None for UNROLLED_CACHE or the user's cache folder.
        cache_features: Keep what a frozen backbone makes of the pictures, in half precision, and
            train on that.
        cache_views: Of so many views of each training picture, one of them the picture as it is and
            the others what the augmentation makes of it; an epoch draws one of each picture.
        units: What a caption is learnt in: `words`, `characters`, `subwords`; None: words, or
            characters where most letters are of scripts that put no spaces between words.
        normalize: Bring captions to Unicode's NFC.
        vocabulary: A file with the vocabulary of another program, see `read_vocabulary`; None: it
            is made of the training captions.
        spec: A checkpoint's spec: use its words and its picture size. None for the data's own.
    """

    spec_form = CaptionSpec
    given_features: ClassVar = False
    """Whether there are features instead of pictures."""

    def __init__(
        self,
        *,
        image_size: int,
        min_count: int,
        batch_size: int,
        captions_per_image: int | None,
        num_workers: int,
        seed: int,
        cache_dir: str | None,
        cache_features: bool,
        cache_views: int = 1,
        units: Units | None = None,
        normalize: bool = True,
        vocabulary: str | None = None,
        spec: dict[str, Any] | None,
    ) -> None:
        super().__init__(num_workers=num_workers, seed=seed, spec=spec)
        at_least(
            1,
            min_count=min_count,
            batch_size=batch_size,
            captions_per_image=captions_per_image,
            cache_views=cache_views,
        )
        at_least(0 if self.given_features else 1, image_size=image_size)
        if spec is not None and bool(spec.get("feature_size")) != self.given_features:
            kinds = (
                ("features", "pictures") if spec.get("feature_size") else ("pictures", "features")
            )
            raise UsageError(
                f"The checkpoint's model takes {kinds[0]}, and these data are {kinds[1]}."
            )
        self.image_size = image_size if spec is None else int(spec["image_size"])
        self.min_count = min_count
        self.batch_size = batch_size
        self.captions_per_image = captions_per_image
        self.cache_dir = cache_dir
        self.cache_features = cache_features
        self.cache_views = cache_views
        self.units = units
        self.normalize = normalize
        if vocabulary is not None and units is not None:
            raise UsageError(
                f"units is {units}, and '{vocabulary}' says itself what its pieces are: leave the "
                "one or the other out."
            )
        self.vocabulary_file = vocabulary
        self._given: Subwords | None = None
        self._encode: Callable[[Tensor], Tensor] | None = None
        self._encoder_key: Callable[[], str] | None = None

    @abstractmethod
    def references(self, part: Part) -> list[tuple[str, ...]]:
        """Return the captions of each image of a part, as they were written, by its number."""

    @abstractmethod
    def pictures(self, part: Part) -> PictureStore:
        """Return the pictures of a part, in the same order."""

    def inputs(self, part: Part) -> Sequence[ImageName]:
        """Return what the images of a part are called, by number."""
        return [ImageName(number) for number in range(len(self.references(part)))]

    def learnt(self, caption: str) -> str:
        """Return a caption as it is to be learnt.

        Args:
            caption: As it was written.
        """
        return caption

    def augmentation(self) -> Augmentation | None:
        """Return what changes the training pictures, None for nothing."""
        return None

    def judge(self, part: Part, number: int, caption: str) -> bool | None:
        """Say whether a caption is exactly right, None where the data can't tell."""
        return None

    @cached_property
    def vocabulary(self) -> Subwords:
        """The words: the checkpoint's where its spec was given, else the training captions'."""
        return Subwords.from_spec(self.spec["vocabulary"])

    def own_spec(self) -> dict[str, Any]:
        """Return the words and the size of the pictures as plain data, a `CaptionSpec`."""
        if self.vocabulary_file is not None:
            self._take(self.vocabulary_file)
        if self._given is not None:
            return dict(CaptionSpec(vocabulary=self._given.to_spec(), image_size=self.image_size))
        texts = [self.learnt(text) for texts in self.references("train") for text in texts]
        units = self.units or self._fitting(texts)
        settings: dict[str, Any] = {
            "kind": "word" if units == "words" else "bpe",
            "size": {"words": _NEVER, "characters": _CHARACTERS, "subwords": _SUBWORDS}[units],
            "lowercase": True,
            "nfc": self.normalize,
            # characters: no pair of them becomes a piece
            "min_count": _NEVER if units == "characters" else self.min_count,
        }
        folder = cache_folder(self.cache_dir, kind="captions")
        words = cached_json(
            folder / f"words-{key_of(_FORMAT, settings, texts)}.json",
            lambda: Subwords.train(texts, **settings).to_spec(),
        )
        return dict(CaptionSpec(vocabulary=words, image_size=self.image_size))

    def _take(self, name: str) -> None:
        """Take the vocabulary of a file, and say how much of the captions it does not know."""
        found = read_vocabulary(name)
        if found.form.tokenizer == "spaces":  # signs are left out of captions, but for a few
            found = found._replace(form=found.form._replace(tokenizer="treebank"))
        words = self._given = Subwords.from_given(found, lowercase=True)
        texts = [self.learnt(text) for texts in self.references("train") for text in texts]
        ids = [i for row in words.encode_batch(texts) for i in row]
        unknown = ids.count(words.UNKNOWN) / max(len(ids), 1)
        rank_zero_info(
            f"Vocabulary: '{name}': {found.told}; {unknown:.1%} of the training captions' symbols "
            "are unknown to it"
        )

    def use_words(self, words: Words, tokenizer: WordTokenizer = "treebank") -> None:
        """Use given words instead of those of the training captions; others are unknown.

        Args:
            words: A `torchtext.vocab.Vocab`, or what has its `get_itos`.
            tokenizer: How captions are parted into words, as `Subwords.train` says.
        """
        self._given = Subwords.of_words(words.get_itos(), tokenizer=tokenizer, lowercase=True)

    def _fitting(self, texts: list[str]) -> Units:
        """Return the units that fit captions, and say so where they are not words."""
        share = unspaced_share(texts)
        if share <= 0.5:
            return "words"
        rank_zero_info(
            f"Captions are learnt character by character: {share:.0%} of their letters are of "
            "scripts without spaces between words. --data.units words, characters or subwords "
            "chooses."
        )
        return "characters"

    def use_features(self, encode: Callable[[Tensor], Tensor], key: Callable[[], str]) -> None:
        """Say how features are made, for `cache_features`; a loader calls both when it is made."""
        self._encode, self._encoder_key = encode, key

    def features(self, part: Part, view: int = 0) -> ArrayFile:
        """Return the features of a part's pictures, made now if they are not in the cache.

        Args:
            part: The part.
            view: Number of the view; 0: the pictures as they are.

        Raises:
            UsageError: If nothing says how to make them.
            DataError: If a picture can't be read.
        """
        if self._encode is None or self._encoder_key is None:
            raise UsageError(
                "cache_features keeps what a frozen backbone makes of the pictures, and this model "
                "has none, or one that learns later. Freeze it and leave unfreeze_epoch out, or "
                "set "
                "--data.cache_features false."
            )
        length = len(self.references(part))
        pictures, augmentation = self.pictures(part), self.augmentation()
        if view and augmentation is not None:
            pictures = View(pictures, augmentation, [self.seed, view])
        folder = cache_folder(self.cache_dir, kind="features")
        identity = [pictures.identity, self.image_size, self._encoder_key()]
        return kept_features(
            folder, identity, length, lambda: self._make_features(part, pictures, length, view)
        )

    def _make_features(
        self, part: Part, pictures: PictureStore, length: int, view: int
    ) -> Iterator[npt.NDArray[np.float16]]:
        assert self._encode is not None
        which = f", view {view + 1} of {self.cache_views}," if self.cache_views > 1 else ""
        rank_zero_info(f"Features of {length:,} {part} images{which} are made once and kept.")
        for begin in range(0, length, _ENCODED_AT_ONCE):
            read = [
                pictures.read(number)
                for number in range(begin, min(begin + _ENCODED_AT_ONCE, length))
            ]
            blank = torch.zeros(3, self.image_size, self.image_size, dtype=torch.uint8)
            with torch.no_grad():
                made = self._encode(
                    torch.stack([blank if picture is None else picture for picture in read])
                )
            features = made.to("cpu", torch.float16).numpy()
            # the data set leaves it out then
            features[[picture is None for picture in read]] = np.nan
            yield features

    def fingerprint(self) -> str:
        """Return what changes with the captions to learn from."""
        return key_of(self.references("train"))[:16]

    def contents(self, part: Part) -> tuple[CaptionDataset, SamplerFactory] | None:
        """Return the images and captions of a part and their order, None where it has no images."""
        references = self.references(part)
        if not references:
            return None
        train = part == "train"
        views = (self.cache_views if train else 1) if self.cache_features else 0
        learnt = [[self.learnt(text) for text in texts] for texts in references]
        dataset = CaptionDataset(
            self.pictures(part),
            references,
            encode_captions(learnt, self.vocabulary, cache_folder(self.cache_dir, kind="captions")),
            image_size=self.image_size,
            seed=self.seed,
            captions_per_image=self.captions_per_image if train else None,
            augmentation=self.augmentation() if train else None,
            features=[self.features(part, view) for view in range(views)],
            feature_size=self.spec.get("feature_size", 0),
        )
        return dataset, partial(ItemSampler, len(references), batch_size=self.batch_size)
