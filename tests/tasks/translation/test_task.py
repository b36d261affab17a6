"""Translation: padding and batch mates change nothing, checkpoints translate as the model did, any core fits."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import unrolled
from torch.utils.data import DataLoader
from unrolled import core
from unrolled.core import GRU, Bidirectional, Stacked
from unrolled.core.seq2seq.attention import DotAttention, GeneralAttention
from unrolled.data.batch import TranslationBatch
from unrolled.data.tokenizer import Subwords
from unrolled.tasks import Translation

GERMAN = [
    "ein hund",
    "zwei hunde laufen",
    "ein mann sieht einen hund",
    "die katze",
    "zwei katzen sehen eine katze",
]
ENGLISH = ["a dog", "two dogs run", "a man sees a dog", "the cat", "two cats see a cat"]
CAUSAL = [
    name
    for name, cls in core.discover_cores().items()
    if name not in ("Stacked", "Bidirectional", "WeightDrop", "Zoneout")
]


def spec(joint: bool = True) -> dict:
    if joint:
        both = Subwords.train([*GERMAN, *ENGLISH], size=60).to_spec()
        return {"source": both, "target": both, "joint": True}
    sides = (Subwords.train(texts, size=50).to_spec() for texts in (GERMAN, ENGLISH))
    return {**dict(zip(("source", "target"), sides, strict=True)), "joint": False}


def made(**arguments) -> Translation:
    torch.manual_seed(0)
    settings = {
        "encoder": partial(Bidirectional, core=partial(GRU, hidden_size=6)),
        "decoder": partial(GRU, hidden_size=8),
        "embedding_size": 5,
    }
    model = (
        Translation(spec(arguments.pop("joint", True)), **{**settings, **arguments}).double().eval()
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 3  # so that what it translates differs from sentence to sentence
    return model


def batch(model: Translation, pairs: list[tuple[str, str]], more: int = 0) -> TranslationBatch:
    """A batch as the data modules make it, with more padding than it needs."""
    tensors = []
    for texts, words in (
        (next(zip(*pairs, strict=True)), model.source),
        (list(zip(*pairs, strict=True))[1], model.target),
    ):
        rows = [torch.tensor([*ids, Subwords.END]) for ids in words.encode_batch(list(texts))]
        padded = torch.zeros(len(rows), max(map(len, rows)) + more, dtype=torch.int64)
        for row, ids in enumerate(rows):
            padded[row, : len(ids)] = ids
        tensors += [padded, torch.tensor([len(ids) for ids in rows])]
    return TranslationBatch(
        *tensors, torch.arange(len(pairs)), tuple(target for _, target in pairs)
    )


def loader(given: TranslationBatch, times: int) -> DataLoader:
    return DataLoader([given] * times, batch_size=None)


PAIRS = list(zip(GERMAN, ENGLISH, strict=True))


def nats(model: Translation, given: TranslationBatch) -> torch.Tensor:
    decoded, _ = model(given.source, given.source_lengths, given.target)
    return model.cross_entropy(decoded, given)


@torch.no_grad()
def test_the_loss_of_a_batch_is_that_of_its_pairs_whatever_the_padding():
    model = made()
    alone = sum(nats(model, batch(model, [pair])) for pair in PAIRS)
    torch.testing.assert_close(nats(model, batch(model, PAIRS)), alone, rtol=1e-10, atol=0)
    torch.testing.assert_close(nats(model, batch(model, PAIRS, more=4)), alone, rtol=1e-10, atol=0)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_sentence_translates_the_same_alone_and_in_a_batch(beam_size):
    model = made()
    texts = [*GERMAN, "", "ein", "katze katze katze zwei"]
    together = model.translations(texts, beam_size=beam_size, num_hypotheses=beam_size)
    for text, found in zip(texts, together, strict=True):
        alone = model.translations([text], beam_size=beam_size, num_hypotheses=beam_size)[0]
        assert [one.text for one in alone] == [one.text for one in found]
        assert [one.score for one in alone] == pytest.approx([one.score for one in found], abs=1e-9)
    assert (
        model.translations(texts, beam_size=beam_size, batch_size=2)[1][0].text
        == together[1][0].text
    )
    assert len({found[0].text for found in together}) > 3


@torch.no_grad()
def test_scores_are_the_models_log_probabilities_and_attention_is_a_distribution():
    model = made(joint=False)
    for found in model.translations(
        GERMAN, beam_size=4, num_hypotheses=4, attention=True, length_penalty=0.5
    ):
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        for one in found:
            assert one.attention.shape == (len(one.target), len(one.source))
            torch.testing.assert_close(
                one.attention.sum(1), torch.ones(len(one.target), dtype=torch.float64)
            )
            length = len(one.target)
            assert one.score == pytest.approx(one.log_probability / ((5 + length) / 6) ** 0.5)
    source = torch.tensor([[*model.source.encode_batch(GERMAN[:1])[0], Subwords.END]])
    memory = model.encoder(source, torch.tensor([source.shape[1]]))
    hypothesis = model._search(memory, beam_size=4, length_penalty=1.0)[0][0]
    tokens = hypothesis.tokens + [Subwords.END] * hypothesis.finished
    before = torch.tensor([[Subwords.START, *tokens[:-1]]])
    decoded = model.decoder(
        before, model.decoder.prepare(memory), model.decoder.initial_state(memory)
    )
    table = model.decoder.head(decoded.output).log_softmax(2)[0]
    expected = float(table[torch.arange(len(tokens)), torch.tensor(tokens)].sum())
    assert hypothesis.log_probability == pytest.approx(expected, abs=1e-9)


def test_a_translation_of_nothing_has_attention_of_nothing():
    (found,) = made().translations(GERMAN[:1], max_length=0, beam_size=1, attention=True)[0]
    assert found.attention.shape[0] == len(found.target) <= 1


def test_drawing_repeats_with_a_seed():
    model = made()
    first = model.translate(GERMAN, temperature=1.5, seed=3)
    assert model.translate(GERMAN, temperature=1.5, seed=3) == first
    assert any(model.translate(GERMAN, temperature=1.5, seed=seed) != first for seed in range(4, 8))
    assert isinstance(model.translate("ein hund"), str)
    assert model.translate([]) == []
    assert model.translate("") == ""


@pytest.mark.parametrize("name", CAUSAL)
def test_every_core_in_both_places_trains_and_is_loaded_again(name, tmp_path, trainer):
    cls = getattr(core, name)
    model = made(
        encoder=partial(Stacked, core=partial(cls, hidden_size=8), num_layers=2),
        decoder=partial(cls, hidden_size=8),
        attention=partial(GeneralAttention),
        scheduled_sampling=0.5,
        label_smoothing=0.1,
        dropout=0.1,
    ).float()
    given = batch(model, PAIRS)
    run = trainer(max_steps=2, limit_val_batches=1)
    run.fit(model, loader(given, 2), loader(given, 1))
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
    assert loaded.translate(GERMAN) == model.eval().translate(GERMAN)


def test_a_batch_that_leaves_nothing_to_this_process_gives_every_parameter_a_gradient():
    model = made(tie_weights=True)
    given = batch(model, PAIRS)
    none = TranslationBatch(*(part[:0] for part in given[:-1]), ())
    model.log = lambda *args, **kwargs: None
    model.training_step(none, 0).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_training_overfits_a_handful_of_sentences(trainer):
    model = made(
        decoder=partial(GRU, hidden_size=32),
        embedding_size=32,
        share_embeddings=True,
        tie_weights=True,
        optimizer=partial(torch.optim.Adam, lr=0.01),
    ).float()
    for parameter in model.parameters():
        parameter.data /= 3
    given = batch(model, PAIRS)
    trainer(max_steps=150, gradient_clip_val=1.0).fit(model, loader(given, 150))
    assert model.translate(GERMAN) == ENGLISH
    assert model.translate(GERMAN, beam_size=1) == ENGLISH


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
    model = made()
    with pytest.raises(
        ValueError, match="num_hypotheses=3: must be at least 1 and at most beam_size=2"
    ):
        model.translate(GERMAN, beam_size=2, num_hypotheses=3)
    with pytest.raises(ValueError, match="batch_size=0"):
        model.translate(GERMAN, batch_size=0)
