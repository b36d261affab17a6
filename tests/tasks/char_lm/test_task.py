from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import unrolled
from torch.nn import functional
from unrolled.core import GRU, LSTM, Bidirectional, MinGRU
from unrolled.data import TextData
from unrolled.data.batch import TextBatch
from unrolled.data.vocabulary import ByteVocabulary, CharacterVocabulary
from unrolled.errors import DataError, UsageError
from unrolled.tasks import CharLM

TEXT = "the quick brown fox jumps over the lazy dog;\n" * 20
SMALL = partial(LSTM, hidden_size=12)


def vocabulary_spec(text: str = TEXT) -> dict:
    return {"vocabulary": CharacterVocabulary(text).to_spec()}


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
def model() -> CharLM:
    torch.manual_seed(0)
    return CharLM(vocabulary_spec(), SMALL, embedding_size=6).double().eval()


@pytest.mark.parametrize(("rows", "chunk"), [(1, 7), (1, 1000), (3, 16)])
def test_scores_count_every_character_with_its_whole_history(
    model, text_file, rows, chunk, trainer
):
    data = TextData(
        str(text_file), val_fraction=0.3, test_fraction=0.2, batch_size=rows, chunk_length=chunk
    )
    scores = trainer(precision="64-true").validate(model, data, verbose=False)[0]
    ids = torch.from_numpy(model.vocabulary.encode(TEXT))
    start, stop = int(len(TEXT) * 0.5), int(len(TEXT) * 0.8)
    part = ids[start - 1 : stop]  # with the character before, which is its context
    pairs = len(part) - 1
    nats = 0.0
    for row in range(rows):  # each row reads its share from the initial state
        first, last = row * pairs // rows, (row + 1) * pairs // rows
        logits, _ = model(part[None, first:last])
        nats += functional.cross_entropy(
            logits[0], part[first + 1 : last + 1], reduction="sum"
        ).item()
    assert scores["val/loss"] == pytest.approx(nats / pairs, rel=1e-6)
    assert scores["val/bits_per_character"] == pytest.approx(nats / pairs / math.log(2), rel=1e-6)


def test_test_scores_the_test_part(model, text_file, trainer):
    data = TextData(str(text_file), val_fraction=0.3, test_fraction=0.2, batch_size=1)
    tested = trainer().test(model, data, verbose=False)[0]
    last_fifth = TextData(str(text_file), val_fraction=0.2, test_fraction=0.0, batch_size=1)
    validated = trainer().validate(model, last_fifth, verbose=False)[0]
    assert tested["test/loss"] == pytest.approx(validated["val/loss"], rel=1e-6)


def test_state_is_carried_from_chunk_to_chunk(model):
    ids = torch.from_numpy(model.vocabulary.encode(TEXT[:41]))[None]
    whole, _ = model(ids[:, :-1])
    losses, state = [], None
    for start, stop in [(0, 13), (13, 30), (30, 40)]:
        loss, _, state = model.loss(
            batch_of(ids[:, start:stop], ids[:, start + 1 : stop + 1]), state
        )
        losses.append(loss.item() * (stop - start))
    expected = functional.cross_entropy(whole[0], ids[0, 1:], reduction="sum").item()
    assert sum(losses) == pytest.approx(expected, rel=1e-12)


def test_training_carries_the_state_without_its_gradient(text_file, trainer):
    torch.manual_seed(0)
    data = TextData(str(text_file), val_fraction=0, test_fraction=0, batch_size=2, chunk_length=8)
    model = CharLM(data.spec, SMALL, optimizer=partial(torch.optim.SGD, lr=0.0))
    trainer(max_steps=5, precision="64-true", limit_val_batches=0).fit(model, data)
    state, batches = None, iter(data.loader("train"))
    for _ in range(5):
        batch = next(batches)
        _, state = model(batch.input, state, lengths=batch.lengths, reset=batch.reset)
    for carried, expected in zip(model.training_state, state, strict=True):
        torch.testing.assert_close(carried, expected)
        assert not carried.requires_grad


def test_loss_and_regularisers_ignore_what_lies_past_the_lengths():
    torch.manual_seed(0)
    model = CharLM(
        vocabulary_spec(),
        SMALL,
        embedding_size=6,
        activation_regularization=2.0,
        temporal_activation_regularization=3.0,
    ).double()
    ids = torch.from_numpy(model.vocabulary.encode(TEXT[:24])).view(2, 12)
    lengths = torch.tensor([11, 7])
    batch = batch_of(ids[:, :-1], ids[:, 1:], lengths)
    loss, _, _ = model.loss(batch)
    nats, squares, changes = 0.0, 0.0, 0.0
    for row, length in enumerate(lengths.tolist()):
        output, _ = model.core(model.embedding(ids[row : row + 1, :length]))
        nats += functional.cross_entropy(
            model.head(output[0]), ids[row, 1 : length + 1], reduction="sum"
        )
        squares += output.square().sum()
        changes += (output[:, 1:] - output[:, :-1]).square().sum()
    expected = (nats + 2.0 * squares / 12 + 3.0 * changes / 12) / 18
    torch.testing.assert_close(loss, expected)


def test_step_by_step_equals_the_sequence(model):
    ids = torch.from_numpy(model.vocabulary.encode(TEXT[:20])).view(2, 10)
    whole, _ = model(ids)
    state = model.core.initial_state(2, dtype=torch.float64)
    for t in range(10):
        logits, state = model.step(ids[:, t], state)
        torch.testing.assert_close(logits, whole[:, t])


def test_tied_weights_are_one_tensor_and_need_equal_sizes():
    model = CharLM(vocabulary_spec(), SMALL, embedding_size=12, tie_weights=True)
    assert model.head.weight is model.embedding.weight
    with pytest.raises(
        ValueError, match="the core's output has 12 features, the embedding 6; they must be equal"
    ):
        CharLM(vocabulary_spec(), SMALL, embedding_size=6, tie_weights=True)


def test_a_core_that_reads_backwards_is_refused():
    with pytest.raises(ValueError, match="Bidirectional is not causal"):
        CharLM(vocabulary_spec(), partial(Bidirectional, core=SMALL))


def test_every_parameter_learns(text_file, trainer):
    torch.manual_seed(0)
    data = TextData(str(text_file), batch_size=4, chunk_length=8)
    model = CharLM(data.spec, SMALL, embedding_dropout=0.1, input_dropout=0.2, output_dropout=0.2)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer(max_steps=30, limit_val_batches=0).fit(model, data)
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_checkpoint_is_plain_and_rebuilds_the_model(text_file, tmp_path, trainer):
    data = TextData(str(text_file), batch_size=4, chunk_length=8)
    model = CharLM(data.spec, partial(GRU, hidden_size=9), embedding_size=5, output_dropout=0.5)
    run = trainer(max_steps=2, limit_val_batches=0)
    run.fit(model, data)
    run.save_checkpoint(tmp_path / "model.ckpt")
    checkpoint = torch.load(tmp_path / "model.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["core"] == {
        "class_path": "unrolled.core.cores.gru.GRU",
        "init_args": {"hidden_size": 9},
    }
    with pytest.raises(UsageError, match=r"use unrolled\.load\(path\)"):
        CharLM.load_from_checkpoint(tmp_path / "model.ckpt")
    again = unrolled.load(tmp_path / "model.ckpt")
    assert isinstance(again.core, GRU)
    assert again.output_dropout.p == 0.5
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_arguments_that_a_checkpoint_cannot_hold_are_named(text_file, trainer):
    data = TextData(str(text_file), batch_size=4, chunk_length=8)
    model = CharLM(data.spec, lambda input_size: LSTM(input_size, 8))
    with pytest.warns(UserWarning, match="core: made by a function"):
        trainer(max_steps=1, limit_val_batches=0).fit(model, data)


class TestGenerate:
    def test_the_same_seed_writes_the_same_text(self, model):
        assert model.generate("the ", length=50, seed=3) == model.generate(
            "the ", length=50, seed=3
        )
        assert model.generate("the ", length=50, seed=3) != model.generate(
            "the ", length=50, seed=4
        )

    def test_without_a_seed_the_global_generator_is_left_alone(self, model):
        with torch.no_grad():
            model.head.bias[model.vocabulary.END] = -1e4
        before = torch.get_rng_state()
        assert len(model.generate("the ", length=50)) == 50
        assert torch.equal(torch.get_rng_state(), before)

    def test_temperature_zero_is_the_most_probable_character_each_time(self, model):
        text = model.generate("the ", length=30, temperature=0)
        ids = [model.vocabulary.END, *model.vocabulary.encode("the ").tolist()]
        for character in text:
            logits, _ = model(torch.tensor([ids]))
            best = logits[0, -1].clone()
            best[model.vocabulary.UNKNOWN] = -torch.inf
            assert model.vocabulary.decode([int(best.argmax())]) == character
            ids.append(int(best.argmax()))
        assert text == model.generate("the ", length=30, top_k=1)

    def test_a_batch_is_answered_as_each_alone(self, model):
        prompts = ["the quick", "", "fox"]
        together = model.generate(prompts, length=20, temperature=0)
        assert together == [model.generate(prompt, length=20, temperature=0) for prompt in prompts]

    def test_a_documents_end_ends_the_text_of_its_row(self, model):
        with torch.no_grad():
            model.head.bias[model.vocabulary.END] = 1e4
        assert model.generate(["a", "b"], length=20, temperature=0) == ["", ""]

    def test_unknown_characters_of_the_prompt(self, model):
        with pytest.raises(
            DataError, match=r"The prompt has 1 character .*'é' \(1 x\)\.\n.*--unknown skip"
        ):
            model.generate("thé")
        skipped = model.generate("thé", length=9, temperature=0, unknown="skip")
        assert skipped == model.generate("th", length=9, temperature=0)

    def test_a_model_of_bytes_writes_whole_characters(self):
        torch.manual_seed(0)
        model = CharLM({"vocabulary": ByteVocabulary().to_spec()}, SMALL)
        with torch.no_grad():  # only the two bytes of "é" and the space are possible
            model.head.bias.fill_(-1e4)
            model.head.bias[[0xC3 + 1, 0xA9 + 1, 0x20 + 1]] = 0
        pieces = [piece for (piece,) in model.generate_stream(["é"], length=200, seed=0)]
        assert "é" in pieces
        assert set("".join(pieces)) <= {"é", " ", "\ufffd"}

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("temperature", -1.0),
            ("top_k", 0),
            ("top_p", 0.0),
            ("top_p", 1.1),
            ("min_p", -0.1),
            ("length", -1),
        ],
    )
    def test_settings_out_of_range_are_named(self, model, setting, value):
        with pytest.raises(ValueError, match=f"{setting}={value}: must be"):
            model.generate("the", **{setting: value})

    def test_nothing_asked_nothing_written(self, model):
        assert model.generate("the", length=0) == ""
        assert model.generate([], length=5) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch warns of things of its own while it compiles
def test_a_compiled_core_learns_the_same(text_file, trainer):
    losses = []
    for compile_core in (False, True):
        torch.manual_seed(0)
        data = TextData(str(text_file), batch_size=4, chunk_length=8)
        model = CharLM(data.spec, partial(MinGRU, hidden_size=8), compile_core=compile_core)
        trainer(max_steps=5, limit_val_batches=0).fit(model, data)
        assert (model.core._compiled_call_impl is not None) == compile_core
        losses.append(trainer().validate(model, data, verbose=False)[0]["val/loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
