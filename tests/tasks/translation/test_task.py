"""The training of translation: padding changes no loss, any core fits, checkpoints translate."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import unrolled
from torch.utils.data import DataLoader
from torchmetrics.text import WordErrorRate
from translation_models import ENGLISH, GERMAN, PAIRS, batch
from translation_models import make_task as made
from unrolled import core
from unrolled.core import GRU, Bidirectional, Stacked
from unrolled.core.seq2seq.attention import DotAttention, GeneralAttention
from unrolled.data.batch import TranslationBatch
from unrolled.tasks import Translation

CAUSAL = [
    name
    for name, cls in core.discover_cores().items()
    if name not in ("Stacked", "Bidirectional", "WeightDrop", "Zoneout")
]


def loader(given: TranslationBatch, times: int) -> DataLoader:
    return DataLoader([given] * times, batch_size=None)


def nats(task: Translation, given: TranslationBatch) -> torch.Tensor:
    decoded, _ = task.model(given.source, given.source_lengths, given.target)
    return task.cross_entropy(decoded, given.target, given.target_lengths)


@torch.no_grad()
def test_the_loss_of_a_batch_is_that_of_its_pairs_whatever_the_padding():
    task = made()
    alone = sum(nats(task, batch(task.model, [pair])) for pair in PAIRS)
    torch.testing.assert_close(nats(task, batch(task.model, PAIRS)), alone, rtol=1e-10, atol=0)
    torch.testing.assert_close(
        nats(task, batch(task.model, PAIRS, more=4)), alone, rtol=1e-10, atol=0
    )


@pytest.mark.parametrize("name", CAUSAL)
def test_every_core_in_both_places_trains_and_is_loaded_again(name, tmp_path, trainer):
    cls = getattr(core, name)
    task = made(
        encoder=partial(Stacked, core=partial(cls, hidden_size=8), num_layers=2),
        decoder=partial(cls, hidden_size=8),
        attention=partial(GeneralAttention),
        scheduled_sampling=0.5,
        label_smoothing=0.1,
        dropout=0.1,
    ).float()
    given = batch(task.model, PAIRS)
    run = trainer(max_steps=2, limit_val_batches=1)
    run.fit(task, loader(given, 2), loader(given, 1))
    assert set(run.callback_metrics) >= {
        "train/loss",
        "val/loss",
        "val/bleu",
        "val/chrf",
        "val/exact",
    }
    path = tmp_path / "model.ckpt"
    run.save_checkpoint(path)
    loaded = unrolled.load(path)
    assert loaded.translate(GERMAN) == task.model.eval().translate(GERMAN)


def test_a_metric_of_the_configuration_is_given_texts_and_references(trainer):
    task = made(metrics={"wer": WordErrorRate}).float()
    given = batch(task.model, PAIRS)
    [scores] = trainer().test(task, loader(given, 1), verbose=False)
    expected = WordErrorRate()(task.model.translate(GERMAN), ENGLISH)
    assert scores["test/wer"] == pytest.approx(float(expected))


def test_a_batch_that_leaves_nothing_to_this_process_gives_every_parameter_a_gradient():
    task = made(tie_weights=True)
    given = batch(task.model, PAIRS)
    none = TranslationBatch(*(part[:0] for part in given[:-1]), ())
    task.log = lambda *args, **kwargs: None
    task.training_step(none, 0).backward()
    assert all(parameter.grad is not None for parameter in task.parameters())


def test_training_overfits_a_handful_of_sentences(trainer):
    task = made(
        decoder=partial(GRU, hidden_size=32),
        embedding_size=32,
        share_embeddings=True,
        tie_weights=True,
        optimizer=partial(torch.optim.Adam, lr=0.01),
    ).float()
    for parameter in task.parameters():
        parameter.data /= 3
    given = batch(task.model, PAIRS)
    trainer(max_steps=150, gradient_clip_val=1.0).fit(task, loader(given, 150))
    assert task.model.translate(GERMAN) == ENGLISH
    assert task.model.translate(GERMAN, beam_size=1) == ENGLISH


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="share_embeddings needs one vocabulary"):
        made(joint=False, share_embeddings=True)
    with pytest.raises(ValueError, match="beam_size=0"):
        made(beam_size=0)
    with pytest.raises(ValueError, match="embedding_size=0"):
        made(embedding_size=0)
    with pytest.raises(ValueError, match="label_smoothing=1"):
        made(label_smoothing=1.0)
    with pytest.raises(ValueError, match="not causal"):
        made(decoder=partial(Bidirectional, core=partial(GRU, hidden_size=6)))
    with pytest.raises(ValueError, match="must be equal"):
        made(attention=DotAttention)
    with pytest.raises(ValueError, match="sacreBLEU has"):
        made(tokenize="14a")


def test_where_bleu_can_not_tell_chrf_is_watched():
    task = made()
    assert task.instead_of("val/bleu") == "val/bleu"
    task.bleu.update(["went", "run"], ["went", "ran"])
    task.bleu.compute()
    assert task.instead_of("val/bleu") == "val/chrf"
    assert task.instead_of("val/loss") == "val/loss"
