"""The use of a captioner: images in, sentences and their attention out.

Shapes: N images, B captions, T steps of a caption, P = h w places of the encoder's grid, S side of
a picture.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ...core.seq2seq.decoder import Decoded, SequenceDecoder
from ...core.seq2seq.encoder import Memory
from ...core.seq2seq.search import Hypothesis, search_sequences
from ...core.state import select_rows
from ...core.vision.encoders import ImageEncoder
from ...data.images import open_image
from ...data.tokenizer import Subwords


class Captioned(NamedTuple):
    """One caption of an image.

    Attributes:
        text: The caption.
        score: What the search ranked it by: the log-probability over the length penalty.
        log_probability: The model's, in nats, the end symbol included.
        words: The caption's words; with the end symbol, if it came to an end.
        attention: How much each word looked at each place of the image (T, h, w), on the CPU; None
            where it was not asked for.
    """

    text: str
    score: float
    log_probability: float
    words: list[str]
    attention: Tensor | None


class Captioner(nn.Module):
    """An image encoder, a decoder, and what they say of images.

    Attributes:
        vocabulary: The words.
        image_size: S.
        encoder: The image encoder.
        decoder: The decoder.
        beam_size: Hypotheses to keep, where a call does not say.
        length_penalty: The search's, likewise.
        max_length: Words of a caption at most, likewise.
    """

    vocabulary: Subwords
    image_size: int
    encoder: ImageEncoder
    decoder: SequenceDecoder
    beam_size: int
    length_penalty: float
    max_length: int

    def forward(
        self, image: Tensor, caption: Tensor, image_of: Tensor, *, sampling: float = 0.0
    ) -> tuple[Decoded, Memory]:
        """Read images and known captions.

        Args:
            image: (N, 3, S, S) uint8, or the backbone's features (N, P, D).
            caption: (B, T) int64, each row ends with the end symbol.
            image_of: Which image each caption is about (B,) int64.
            sampling: Probability that the decoder reads a word of its own.

        Returns:
            What the decoder made of it (`decoder.head` turns its output into logits), and the
            memory, N rows.
        """
        memory = self.encoder(image)
        return self._decode(memory, caption, image_of, sampling), memory

    def _decode(
        self, memory: Memory, caption: Tensor, image_of: Tensor, sampling: float = 0.0
    ) -> Decoded:
        rows, steps = caption.shape
        before = torch.cat(
            (caption.new_full((rows, min(steps, 1)), Subwords.START), caption[:, :-1]), 1
        )
        prepared = select_rows(self.decoder.prepare(memory), image_of)
        state = select_rows(self.decoder.initial_state(memory), image_of)
        decoded: Decoded = self.decoder(before, prepared, state, sampling=sampling)
        return decoded

    def _search(
        self,
        memory: Memory,
        *,
        beam_size: int,
        length_penalty: float | None = None,
        num_hypotheses: int = 1,
        max_length: int | None = None,
        no_repeat_ngram: int = 0,
        temperature: float | None = None,
        generator: torch.Generator | None = None,
        copies: int = 1,
    ) -> list[list[Hypothesis]]:
        decoder = self.decoder
        with torch.no_grad():
            rows = torch.arange(len(memory.output), device=self._place).repeat_interleave(copies)
            return search_sequences(
                decoder.stepper(),
                select_rows(decoder.initial_state(memory), rows),
                select_rows(decoder.prepare(memory), rows),
                start=Subwords.START,
                end=Subwords.END,
                max_length=self.max_length if max_length is None else max_length,
                forbidden=(Subwords.PAD, Subwords.START, Subwords.UNKNOWN),
                no_repeat_ngram=no_repeat_ngram,
                beam_size=beam_size,
                num_hypotheses=num_hypotheses,
                length_penalty=self.length_penalty if length_penalty is None else length_penalty,
                temperature=temperature,
                generator=generator,
            )

    def caption(self, images: Any, **settings: Any) -> str | list[str]:
        """Say what is to be seen.

        Args:
            images: An image; a list of them is answered with a list. See `captions`.
            settings: See `captions`.

        Returns:
            The best caption of each image.
        """
        several = isinstance(images, list | tuple)
        best = [
            found[0].text for found in self.captions(images if several else [images], **settings)
        ]
        return best if several else best[0]

    @torch.inference_mode()
    def captions(
        self,
        images: Sequence[Any],
        *,
        beam_size: int | None = None,
        num_hypotheses: int = 1,
        length_penalty: float | None = None,
        max_length: int | None = None,
        no_repeat_ngram: int = 0,
        temperature: float | None = None,
        seed: int | None = None,
        attention: bool = False,
        batch_size: int = 64,
    ) -> list[list[Captioned]]:
        """Caption images, and say all that is known of the captions.

        Args:
            images: Paths, PIL images, or tensors (3, S, S) uint8.
            beam_size: Hypotheses to keep; None: the model's own setting; 1: greedy search.
            num_hypotheses: How many captions of each image to return, at most `beam_size`.
            length_penalty: None: the model's own setting.
            max_length: Words of a caption at most; None: the model's own setting.
            no_repeat_ngram: No sequence of so many words comes twice in a caption; 0: they may.
            temperature: Draw from the model's distribution instead of searching, its logits divided
                by this.
            seed: Makes drawing repeatable; None: another caption each time.
            attention: Return the attention weights.
            batch_size: Images captioned side by side; the result does not depend on it.

        Returns:
            The captions of each image, the best first.

        Raises:
            ValueError: A setting is out of its range.
            DataError: An image can't be read.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: must be at least 1")
        beam_size = max(self.beam_size, num_hypotheses) if beam_size is None else beam_size
        if attention and self.decoder.attention is None:
            raise ValueError("this model was made without attention; there is none to show")
        self.eval()
        generator = torch.Generator(self._place)
        generator.seed() if seed is None else generator.manual_seed(seed)
        results: list[list[Captioned]] = []
        for first in range(0, len(images), batch_size):
            pictures = torch.stack(
                [self._picture(image) for image in images[first : first + batch_size]]
            )
            memory = self.encoder(pictures.to(self._place))
            found = self._search(
                memory,
                beam_size=beam_size,
                length_penalty=length_penalty,
                num_hypotheses=num_hypotheses,
                max_length=max_length,
                no_repeat_ngram=no_repeat_ngram,
                temperature=temperature,
                generator=generator,
            )
            for row, hypotheses in enumerate(found):
                results.append(list(self._describe(memory, row, hypotheses, attention)))
        return results

    def _picture(self, image: Any) -> Tensor:
        size = self.image_size
        if not isinstance(image, Tensor):
            return open_image(image, size)
        if image.shape != (3, size, size) or image.dtype != torch.uint8:
            raise ValueError(
                f"an image is {str(image.dtype).removeprefix('torch.')} {tuple(image.shape)}; a tensor must be uint8 "
                f"(3, {size}, {size}); paths and PIL images may have any size"
            )
        return image

    def _describe(
        self, memory: Memory, row: int, hypotheses: Sequence[Hypothesis], attention: bool
    ) -> Iterator[Captioned]:
        """Yield the captions of one image; their attention is that of reading them again."""
        one = Memory(memory.output[row : row + 1])
        for hypothesis in hypotheses:
            tokens = hypothesis.tokens + ([Subwords.END] if hypothesis.finished else [])
            weights = None
            if attention:
                caption = torch.tensor([tokens], dtype=torch.int64, device=self._place)
                decoded = self._decode(
                    one, caption, torch.zeros(1, dtype=torch.int64, device=self._place)
                )
                weights = decoded.attention[0].view(-1, *self._grid).float().cpu()
            yield Captioned(
                self.vocabulary.decode(hypothesis.tokens),
                hypothesis.score,
                hypothesis.log_probability,
                self.vocabulary.symbols(tokens),
                weights,
            )

    @property
    def _place(self) -> torch.device:
        return self.decoder.embedding.weight.device

    @functools.cached_property
    def _grid(self) -> tuple[int, int]:
        return self.encoder.grid(self.image_size, self.image_size)
