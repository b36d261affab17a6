"""Images per second of captioning on a CPU: beam search, and training on cached features.

Beam search is compared with the usual one, which takes one image at a time, over the same model,
and with its own bound: the matrix products of the search, made again on the same numbers.
Training on the cached features of a frozen backbone is compared with running it in each epoch.
Prints Markdown tables.

    python benchmarks/captioning.py --root FOLDER_OF_COCO
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from measure import QUIET, cpu_seconds, head, introduce, line, one_thread, parser
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from unrolled.core import (
    LSTM,
    GatedAttention,
    ImageEncoder,
    Memory,
    SmallCNN,
    TorchvisionBackbone,
    beam_search,
)
from unrolled.core.state import select_rows
from unrolled.data import CaptionData, ScenesData
from unrolled.data.tokenizer import Subwords
from unrolled.tasks import Captioning, CaptioningModel

BEAM, LENGTH = 5, 15


@torch.no_grad()
def usual(model: CaptioningModel, memory: Memory) -> list[int]:
    """Search one image as is usual: all candidates are sorted, finished ones put aside."""
    decoder = model.decoder
    prepared = select_rows(decoder.prepare(memory), torch.zeros(BEAM, dtype=torch.int64))
    state = select_rows(decoder.initial_state(memory), torch.zeros(BEAM, dtype=torch.int64))
    tokens = torch.full((BEAM,), Subwords.START)
    scores, sequences = torch.zeros(BEAM, 1), tokens.unsqueeze(1)
    finished: list[tuple[float, list[int]]] = []
    for step in range(LENGTH + 1):
        logits, state = decoder.step(tokens, state, prepared)
        logits[:, [Subwords.PAD, Subwords.START, Subwords.UNKNOWN]] = -torch.inf
        totals = scores + logits.log_softmax(1)
        best, place = (totals[0] if step == 0 else totals.flatten()).topk(BEAM - len(finished))
        parents, tokens = place // logits.shape[1], place % logits.shape[1]
        sequences = torch.cat((sequences[parents], tokens.unsqueeze(1)), 1)
        goes_on = [row for row, token in enumerate(tokens.tolist()) if token != Subwords.END]
        ended = [row for row in range(len(tokens)) if row not in goes_on]
        finished += [(best[row].item(), sequences[row].tolist()) for row in ended]
        if not goes_on or len(finished) == BEAM:
            break
        rows = parents[goes_on]
        state, prepared = select_rows(state, rows), select_rows(prepared, rows)
        tokens, scores, sequences = tokens[goes_on], best[goes_on].unsqueeze(1), sequences[goes_on]
    finished += [
        (score, row)
        for score, row in zip(scores.flatten().tolist(), sequences.tolist(), strict=True)
    ]
    return max(finished)[1]


@torch.no_grad()
def ours(model: CaptioningModel, memory: Memory) -> None:
    """Search all images side by side."""
    decoder = model.decoder
    beam_search(
        decoder.stepper(),
        decoder.initial_state(memory),
        decoder.prepare(memory),
        start=Subwords.START,
        end=Subwords.END,
        max_length=LENGTH,
        forbidden=(Subwords.PAD, Subwords.START, Subwords.UNKNOWN),
        beam_size=BEAM,
    )


class Products(TorchDispatchMode):
    """Notes every matrix product, to make them again alone."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Callable[[], object]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Note a product."""
        if func.overloadpacket.__name__ in {"mm", "addmm", "bmm", "baddbmm", "linear"}:
            self.found.append(partial(func, *args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))

    @torch.no_grad()
    def again(self) -> None:
        """Make them again."""
        for product in self.found:
            product()


def timed(function: Callable[[], object], repeats: int) -> list[float]:
    """Return the CPU seconds of each call, after one that does not count."""
    function()
    return [cpu_seconds(function) for _ in range(repeats)]


def decoding(repeats: int, count: int) -> None:
    """Print the table of beam search."""
    torch.manual_seed(0)
    words = Subwords.train(
        [" ".join(f"w{number}" for number in range(10_000))], kind="word", size=2**31 - 1
    )
    scenes = ScenesData(2, 2, test_size=2, cache_dir=tempfile.mkdtemp())
    network = partial(SmallCNN, channels=[16, 32, 64, 96], blocks=[0, 0, 0, 3])
    models = {
        "built-in scenes: 52 words, LSTM(128), 16 places of 96 features": (
            CaptioningModel(
                scenes.spec,
                partial(ImageEncoder, backbone=network),
                partial(LSTM, hidden_size=128),
                embedding_size=64,
                input_feeding=False,
            ),
            torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8),
        ),
        "photographs: 10,004 words, LSTM(512), features of 49 places given": (
            CaptioningModel(
                {"vocabulary": words.to_spec(), "image_size": 224},
                partial(
                    ImageEncoder,
                    backbone=partial(TorchvisionBackbone, name="resnet50"),
                    output_size=512,
                ),
                partial(LSTM, hidden_size=512),
                embedding_size=512,
            ),
            torch.rand(count, 49, 2048).half(),
        ),
    }
    head("model", "", "one image at a time", f"{count} at once", "ratio", "products take of it")
    for name, (model, images) in models.items():
        model.eval()
        with torch.no_grad():
            model.decoder.head.bias[Subwords.END] = -1e4  # every caption has its full length
            memory = model.encoder(images)
        first = Memory(memory.output[:1])
        for what, slow, fast in (
            ("search", partial(usual, model, first), partial(ours, model, memory)),
            (
                "with the encoder",
                partial(encoded, usual, model, images[:1]),
                partial(encoded, ours, model, images),
            ),
        ):
            one = 1 / statistics.median(timed(slow, 4 * repeats))
            many = count / statistics.median(timed(fast, repeats))
            with Products() as products:
                fast()
            # in turn, as the machine changes
            pairs = [(cpu_seconds(products.again), cpu_seconds(fast)) for _ in range(repeats)]
            share = statistics.median(alone / whole for alone, whole in pairs)
            line(name, what, f"{one:,.0f}", f"{many:,.0f}", f"{many / one:.1f}", f"{share:.0%}")


@torch.no_grad()
def encoded(
    search: Callable[[CaptioningModel, Memory], object], model: CaptioningModel, images: Tensor
) -> None:
    """Search, and the encoder before it."""
    search(model, model.encoder(images))


class Clock(Callback):
    """Takes the time of each epoch."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the time."""
        self.times.append(time.process_time())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the time."""
        self.times.append(time.process_time())


def training(root: str, name: str, epochs: int) -> None:
    """Print the table of training with a frozen backbone."""
    print()
    columns = ("captions an image", "encoded in each epoch", "features from the cache", "ratio")
    head(*columns, align="---:")
    for captions in (1, 5):
        slow, fast = (rate(root, name, epochs, captions, cached) for cached in (False, True))
        line(captions, f"{slow:,.1f}", f"{fast:,.1f}", f"{fast / slow:.1f}")


def rate(root: str, name: str, epochs: int, captions: int, cached: bool) -> float:
    """Return images per second of training, the first epoch left out."""
    data = CaptionData(
        root,
        val_fraction=0.0,
        test_fraction=0.0,
        min_count=1,
        batch_size=19,
        captions_per_image=captions,
        cache_dir=tempfile.mkdtemp(),
        cache_images=not cached,  # decoded once: the comparison is of the backbone alone
        cache_features=cached,
    )
    torch.manual_seed(0)
    backbone = partial(TorchvisionBackbone, name=name)
    encoder = partial(ImageEncoder, backbone=backbone, output_size=512)
    model = Captioning(
        data.spec,
        encoder,
        partial(LSTM, hidden_size=512),
        GatedAttention,
        embedding_size=256,
        input_feeding=False,
    )
    clock = Clock()
    Trainer(max_epochs=epochs + 1, limit_val_batches=0, callbacks=[clock], **QUIET).fit(model, data)
    spans = [end - begin for begin, end in zip(clock.times[1:], clock.times[2:], strict=False)]
    return len(data.references("train")) / statistics.median(spans)


def main() -> None:
    """Print the tables."""
    options = parser(__doc__)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--images", type=int, default=64, help="how many are searched at once")
    options.add_argument("--root", help="images and captions, for the second table")
    options.add_argument("--backbone", default="resnet50", help="that of the second table")
    options.add_argument("--epochs", type=int, default=3)
    arguments = options.parse_args()
    one_thread()
    what = f"beam {BEAM}, captions of {LENGTH} words, one thread, processor time, seed 0"
    introduce(f"Images per second, {what}")
    decoding(arguments.repeats, arguments.images)
    if arguments.root:
        training(arguments.root, arguments.backbone, arguments.epochs)


if __name__ == "__main__":
    main()
