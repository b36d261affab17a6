"""A captioning model and what it says of images.

Shapes: N images, B captions, T steps of a caption, P = h w places of the encoder's grid, or regions
of given features, D of them each, S side of a picture.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias, Unpack, cast

import torch
from torch import Tensor, nn

from ...core.cores.lstm import LSTM
from ...core.recurrent import CoreFactory
from ...core.seq2seq.attention import AttentionFactory, GatedAttention
from ...core.seq2seq.decoder import Decoded, SequenceDecoder
from ...core.seq2seq.encoder import Memory
from ...core.vision.backbones import Backbone, SmallCNN
from ...core.vision.encoders import ImageEncoder, RegionEncoder
from ...data.captioning.features import read_features
from ...data.images import open_image
from ...data.spec import CaptionSpec
from ...data.tokenizer import Subwords
from ..model import Scored, check_sizes
from ..sequence_model import EncoderDecoder, SearchSettings, Written, symbol_vectors

ImageEncoderFactory: TypeAlias = Callable[[], ImageEncoder]
"""Makes an image encoder: how the model receives it."""
RegionEncoderFactory: TypeAlias = Callable[[int], RegionEncoder]
"""Makes the encoder of given features from their size."""
Captioned: TypeAlias = Written
"""One caption of an image."""
_SYMBOLS_OF_A_WORD = 4  # characters or subwords


class CaptioningModel(EncoderDecoder):
    """A convolutional encoder and a recurrent decoder with attention to the places of the image.

    Args:
        spec: What the data module found out about images and captions: the words.
        encoder: Makes the image encoder; of given features `RegionEncoder` from their size.
        decoder: Makes the decoder's core from its input size; it has to be causal.
        attention: This and what follows `Captioning` describes, which trains the model.
        embedding_size: See `Captioning`.
        input_feeding: See `Captioning`.
        tie_weights: See `Captioning`.
        dropout: See `Captioning`.
        beam_size: See `Captioning`.
        length_penalty: See `Captioning`.
        max_length: See `Captioning`.

    Attributes:
        vocabulary: The words.
        image_size: S; 0 of a model of given features.
        feature_size: D; 0 of a model of pictures.

    Raises:
        ValueError: A setting is out of its range, sizes don't allow shared weights, or the encoder
            is of pictures where the data are features, or the other way round.

    Examples:
        >>> words = Subwords.train(["a red ball"], kind="word").to_spec()
        >>> model = CaptioningModel({"vocabulary": words, "image_size": 32}).eval()
        >>> isinstance(model.caption(torch.zeros(3, 32, 32, dtype=torch.uint8)), str)
        True
    """

    symbol_rows: ClassVar = dict.fromkeys(
        ("decoder.embedding.weight", "decoder.head.weight", "decoder.head.bias"), "vocabulary"
    )
    shared_by_members: ClassVar = {
        "vocabulary": "the vocabulary",
        "image_size": "the size of the images",
        "feature_size": "the size of the images' features",
    }
    encoder: ImageEncoder | RegionEncoder

    def __init__(
        self,
        spec: CaptionSpec,
        encoder: ImageEncoderFactory | RegionEncoderFactory | None = None,
        decoder: CoreFactory = lambda input_size: LSTM(input_size, hidden_size=256),
        attention: AttentionFactory | None = GatedAttention,
        *,
        embedding_size: int = 128,
        input_feeding: bool = True,
        tie_weights: bool = False,
        dropout: float = 0.0,
        beam_size: int = 5,
        length_penalty: float = 1.0,
        max_length: int = 30,
    ) -> None:
        check_sizes(max_length=max_length)
        check_sizes(0, image_size=spec["image_size"], feature_size=spec.get("feature_size", 0))
        vocabulary = Subwords.from_spec(spec["vocabulary"])
        embedding = symbol_vectors(vocabulary.size, embedding_size)
        looker = _looker(encoder, spec.get("feature_size", 0))
        writer = SequenceDecoder(
            embedding,
            decoder,
            memory_size=looker.output_size,
            attention=attention,
            input_feeding=input_feeding,
            tie_weights=tie_weights,
            dropout=dropout,
        )
        super().__init__(
            spec, looker, writer, vocabulary, beam_size=beam_size, length_penalty=length_penalty
        )
        self.image_size = spec["image_size"]
        self.feature_size = spec.get("feature_size", 0)
        self.max_length = max_length

    @property
    def backbone(self) -> Backbone | None:
        """The encoder's backbone; None of a model of given features."""
        return self.encoder.backbone if isinstance(self.encoder, ImageEncoder) else None

    def look(self, image: Tensor, places: Tensor | None = None) -> Memory:
        """Encode a batch's images.

        Args:
            image: (N, 3, S, S) uint8, or features (N, P, D).
            places: How many of the P are real (N,) int64; None: all.
        """
        return self.encoder(image) if places is None else self.encoder(image, places)

    def forward(
        self,
        image: Tensor,
        caption: Tensor,
        image_of: Tensor,
        places: Tensor | None = None,
        *,
        sampling: float = 0.0,
    ) -> tuple[Decoded, Memory]:
        """Read images and known captions.

        Args:
            image: (N, 3, S, S) uint8, or features (N, P, D).
            caption: (B, T) int64, each row ends with the end symbol.
            image_of: Which image each caption is about (B,) int64.
            places: How many of the P are real (N,) int64; None: all.
            sampling: Probability that the decoder reads a word of its own.

        Returns:
            What the decoder made of it (`decoder.head` turns its output into logits), and the
            memory, N rows.
        """
        memory = self.look(image, places)
        return self.decode(memory, caption, image_of, sampling=sampling), memory

    def read(self, inputs: Sequence[Any]) -> Memory:
        """Encode images.

        Args:
            inputs: Paths, PIL images, or tensors (3, S, S) uint8; of a model of given features
                paths, arrays, or tensors (P, D).
        """
        if self.feature_size:
            rows = [read_features(one, self.feature_size) for one in inputs]
            features = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (N, P, D)
            return self.look(features.to(self.device), torch.tensor([*map(len, rows)]))
        images = torch.stack([self._picture(image) for image in inputs])  # (N, 3, S, S)
        return self.encoder(images.to(self.device))

    def _picture(self, image: Any) -> Tensor:
        size = self.image_size
        if not isinstance(image, Tensor):
            return open_image(image, size)
        if image.shape != (3, size, size) or image.dtype != torch.uint8:
            raise ValueError(
                f"an image is {str(image.dtype).removeprefix('torch.')} {tuple(image.shape)}; a "
                f"tensor must be uint8 (3, {size}, {size}); paths and PIL images may have any size"
            )
        return image

    def length_limit(self, memory: Memory) -> int:
        """Return `max_length`, or four times as many symbols where they are no whole words.

        Args:
            memory: What the encoder found.
        """
        return self.max_length * (1 if self.vocabulary.kind == "word" else _SYMBOLS_OF_A_WORD)

    def caption(self, images: Any, **settings: Unpack[SearchSettings]) -> str | list[str]:
        """Say what is to be seen.

        Args:
            images: An image; a list of them is answered with a list. See `captions`.
            settings: See `SearchSettings`.

        Returns:
            The best caption of each image.
        """
        several = isinstance(images, list | tuple)
        found = self.captions(images if several else [images], **settings)
        best = [one[0].text for one in found]
        return best if several else best[0]

    def captions(
        self, images: Sequence[Any], **settings: Unpack[SearchSettings]
    ) -> list[list[Captioned]]:
        """Caption images, and say all that is known of the captions.

        Args:
            images: As for `read`.
            settings: See `SearchSettings`; `max_length` is the model's own where it is not given.

        Returns:
            The captions of each image, the best first.

        Raises:
            ValueError: A setting is out of its range.
            DataError: An image can't be read.
        """
        written = self.write(images, **settings)
        return [
            [one._replace(attention=self._on_grid(one.attention)) for one in found]
            for found in written
        ]

    def score(
        self, images: Sequence[Any], captions: Sequence[str], *, batch_size: int = 64
    ) -> list[Scored]:
        """Return how likely the model finds captions of images.

        Args:
            images: As for `read`.
            captions: One of each.
            batch_size: Images side by side; the result does not depend on it.

        Raises:
            DataError: An image can't be read.
        """
        return self.score_texts(images, captions, batch_size=batch_size)

    def _on_grid(self, attention: Tensor | None) -> Tensor | None:
        if attention is None or self.feature_size:
            return attention  # of given features: (T, P)
        return attention.view(-1, *self._grid).float()  # (T, P) -> (T, h, w)

    @functools.cached_property
    def _grid(self) -> tuple[int, int]:
        # several models that speak as one have no image encoder, but what looks like one
        return cast("ImageEncoder", self.encoder).grid(self.image_size, self.image_size)


def _looker(
    encoder: ImageEncoderFactory | RegionEncoderFactory | None, size: int
) -> ImageEncoder | RegionEncoder:
    """Make the encoder of features of a size; 0: of pictures."""
    if encoder is None:
        return RegionEncoder(size, output_size=256, norm=True) if size else ImageEncoder(SmallCNN)
    try:
        return encoder(*[size] if size else [])
    except TypeError as error:
        data, name = (f"features, {size} a region", "Region") if size else ("pictures", "Image")
        raise ValueError(
            f"the data are {data}, and the encoder does not fit: take {name}Encoder ({error})"
        ) from error
