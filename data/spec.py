"""What models have to know of their data: plain data, kept in checkpoints.

A data module's `spec` is one of the last four, of which the first two are parts.
"""

from typing import Any, Literal, NotRequired, TypedDict

Kind = Literal["bpe", "unigram", "word"]
WordTokenizer = Literal["treebank", "spaces", "basic_english"]


class VocabularySpec(TypedDict):
    """A vocabulary as plain data, as it travels in checkpoints.

    Attributes:
        kind: `characters`, `bytes`, `words` or `subwords`.
        symbols: The characters, sorted by code point; empty for bytes; words, with spaces in
            between; of subwords, what is merged, a line each.
    """

    kind: str
    symbols: str


class SubwordsSpec(TypedDict):
    """A vocabulary of subwords or words as plain data, as it travels in checkpoints.

    Attributes:
        kind: `bpe`, `unigram` or `word`.
        tokenizer: The library's tokenizer, as JSON text.
    """

    kind: Kind
    tokenizer: str


class TextSpec(TypedDict):
    """What a language model has to know of its text.

    Attributes:
        vocabulary: The symbols.
    """

    vocabulary: VocabularySpec


class TranslationSpec(TypedDict):
    """What a translation model has to know of its sentences.

    Attributes:
        source: The source's subwords, as `Subwords.to_spec` says them.
        target: The target's; the same as the source's if joint.
        joint: Whether both languages share one vocabulary.
    """

    source: SubwordsSpec
    target: SubwordsSpec
    joint: bool


class CaptionSpec(TypedDict):
    """What a captioner has to know of images and their captions.

    Attributes:
        vocabulary: The words or subwords, as `Subwords.to_spec` says them.
        image_size: Side of the square pictures, in pixels; 0 for features.
        feature_size: D of precomputed features; absent where images are pictures.
    """

    vocabulary: SubwordsSpec
    image_size: int
    feature_size: NotRequired[int]


class VideoSpec(TypedDict):
    """What a model has to know of labelled videos.

    Attributes:
        classes: Names of the classes, in the order of their numbers.
        background: Names of the classes that edit and F1 leave out by default.
        feature_size: D of precomputed features; 0 where frames are pictures.
        image_size: Side of the square pictures, in pixels; 0 for features.
        stride: One of so many frames of a video is taken.
        feature_mean: What is subtracted from each feature; absent: nothing.
        feature_deviation: What each feature is divided by then.
        pose: How features are made of poses, where they are.
    """

    classes: list[str]
    background: list[str]
    feature_size: int
    image_size: int
    stride: int
    feature_mean: NotRequired[list[float]]
    feature_deviation: NotRequired[list[float]]
    pose: NotRequired[dict[str, Any]]
