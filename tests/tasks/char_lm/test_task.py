from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import unrolled
from torch.nn import functional
from unrolled.core import GRU, LSTM, MinGRU
from unrolled.data import TextData
from unrolled.data.batch import TextBatch
from unrolled.data.vocabulary import CharacterVocabulary
from unrolled.errors import UsageError
from unrolled.tasks import CharLM, CharModel

TEXT = "the quick brown fox jumps over the lazy dog;\n" * 20
SPEC = {"vocabulary": CharacterVocabulary(TEXT).to_spec()}
SMALL = partial(LSTM, hidden_size=12)


def batch_of(
    input: torch.Tensor, target: torch.Tensor, lengths: torch.Tensor | None = None
) -> TextBatch:
    rows, steps = input.shape
    return TextBatch(
        input,
        target,
        torch.zeros(rows, steps, dtype=torch.bool),
        torch.full((rows,), steps) if lengths is None else lengths,
    )


@pytest.fixture
def task() -> CharLM:
    torch.manual_seed(0)
    return CharLM(SPEC, SMALL, embedding_size=6).double().eval()


@pytest.mark.parametrize(("rows", "chunk"), [(1, 7), (1, 1000), (3, 16)])
def test_scores_count_every_character_with_its_whole_history(task, text_file, rows, chunk, trainer):
    data = TextData(
        str(text_file), val_fraction=0.3, test_fraction=0.2, batch_size=rows, chunk_length=chunk
    )
    scores = trainer(precision="64-true").validate(task, data, verbose=False)[0]
    ids = torch.from_numpy(task.model.vocabulary.encode(TEXT))
    start, stop = int(len(TEXT) * 0.5), int(len(TEXT) * 0.8)
    part = ids[start - 1 : stop]  # with the character before, which is its context
    pairs = len(part) - 1
    nats = 0.0
    for row in range(rows):  # each row reads its share from the initial state
        first, last = row * pairs // rows, (row + 1) * pairs // rows
        logits, _ = task.model(part[None, first:last])
        nats += functional.cross_entropy(
            logits[0], part[first + 1 : last + 1], reduction="sum"
        ).item()
    assert scores["val/loss"] == pytest.approx(nats / pairs, rel=1e-6)
    assert scores["val/bits_per_character"] == pytest.approx(nats / pairs / math.log(2), rel=1e-6)


def test_test_scores_the_test_part(task, text_file, trainer):
    data = TextData(str(text_file), val_fraction=0.3, test_fraction=0.2, batch_size=1)
    tested = trainer().test(task, data, verbose=False)[0]
    last_fifth = TextData(str(text_file), val_fraction=0.2, test_fraction=0.0, batch_size=1)
    validated = trainer().validate(task, last_fifth, verbose=False)[0]
    assert tested["test/loss"] == pytest.approx(validated["val/loss"], rel=1e-6)


def test_state_is_carried_from_chunk_to_chunk(task):
    ids = torch.from_numpy(task.model.vocabulary.encode(TEXT[:41]))[None]
    whole, _ = task.model(ids[:, :-1])
    losses, state = [], None
    for start, stop in [(0, 13), (13, 30), (30, 40)]:
        loss, _, state = task.loss(
            batch_of(ids[:, start:stop], ids[:, start + 1 : stop + 1]), state
        )
        losses.append(loss.item() * (stop - start))
    expected = functional.cross_entropy(whole[0], ids[0, 1:], reduction="sum").item()
    assert sum(losses) == pytest.approx(expected, rel=1e-12)


def test_training_carries_the_state_without_its_gradient(text_file, trainer):
    torch.manual_seed(0)
    data = TextData(str(text_file), val_fraction=0, test_fraction=0, batch_size=2, chunk_length=8)
    task = CharLM(data.spec, SMALL, optimizer=partial(torch.optim.SGD, lr=0.0))
    trainer(max_steps=5, precision="64-true", limit_val_batches=0).fit(task, data)
    state, batches = None, iter(data.loader("train"))
    for _ in range(5):
        batch = next(batches)
        _, state = task.model(batch.input, state, lengths=batch.lengths, reset=batch.reset)
    for carried, expected in zip(task.training_state, state, strict=True):
        torch.testing.assert_close(carried, expected)
        assert not carried.requires_grad


def test_loss_and_regularisers_ignore_what_lies_past_the_lengths():
    torch.manual_seed(0)
    task = CharLM(
        SPEC,
        SMALL,
        embedding_size=6,
        activation_regularization=2.0,
        temporal_activation_regularization=3.0,
    ).double()
    ids = torch.from_numpy(task.model.vocabulary.encode(TEXT[:24])).view(2, 12)
    lengths = torch.tensor([11, 7])
    batch = batch_of(ids[:, :-1], ids[:, 1:], lengths)
    loss, _, _ = task.loss(batch)
    nats, squares, changes = 0.0, 0.0, 0.0
    for row, length in enumerate(lengths.tolist()):
        output, _ = task.model.core(task.model.embedding(ids[row : row + 1, :length]))
        nats += functional.cross_entropy(
            task.model.head(output[0]), ids[row, 1 : length + 1], reduction="sum"
        )
        squares += output.square().sum()
        changes += (output[:, 1:] - output[:, :-1]).square().sum()
    expected = (nats + 2.0 * squares / 12 + 3.0 * changes / 12) / 18
    torch.testing.assert_close(loss, expected)


def test_every_parameter_learns(text_file, trainer):
    torch.manual_seed(0)
    data = TextData(str(text_file), batch_size=4, chunk_length=8)
    task = CharLM(data.spec, SMALL, embedding_dropout=0.1, input_dropout=0.2, output_dropout=0.2)
    before = {name: parameter.detach().clone() for name, parameter in task.named_parameters()}
    trainer(max_steps=30, limit_val_batches=0).fit(task, data)
    for name, parameter in task.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_checkpoint_is_plain_and_rebuilds_the_model(text_file, tmp_path, trainer):
    data = TextData(str(text_file), batch_size=4, chunk_length=8)
    task = CharLM(data.spec, partial(GRU, hidden_size=9), embedding_size=5, output_dropout=0.5)
    run = trainer(max_steps=2, limit_val_batches=0)
    run.fit(task, data)
    run.save_checkpoint(tmp_path / "model.ckpt")
    checkpoint = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["core"] == {
        "class_path": "unrolled.core.cores.gru.GRU",
        "init_args": {"hidden_size": 9},
    }
    with pytest.raises(UsageError, match=r"use unrolled\.load\(path\)"):
        CharLM.load_from_checkpoint(tmp_path / "model.ckpt")
    again = unrolled.load(tmp_path / "model.ckpt")
    assert type(again) is CharModel
    assert isinstance(again.core, GRU)
    assert again.output_dropout.p == 0.5
    for name, value in task.model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_arguments_that_a_checkpoint_cannot_hold_are_named(text_file, trainer):
    data = TextData(str(text_file), batch_size=4, chunk_length=8)
    task = CharLM(data.spec, lambda input_size: LSTM(input_size, 8))
    with pytest.warns(UserWarning, match="core: made by a function"):
        trainer(max_steps=1, limit_val_batches=0).fit(task, data)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch warns of things of its own while it compiles
def test_a_compiled_core_learns_the_same(text_file, trainer):
    losses = []
    for compile_core in (False, True):
        torch.manual_seed(0)
        data = TextData(str(text_file), batch_size=4, chunk_length=8)
        task = CharLM(data.spec, partial(MinGRU, hidden_size=8), compile_core=compile_core)
        trainer(max_steps=5, limit_val_batches=0).fit(task, data)
        assert (task.model.core._compiled_call_impl is not None) == compile_core
        losses.append(trainer().validate(task, data, verbose=False)[0]["val/loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
