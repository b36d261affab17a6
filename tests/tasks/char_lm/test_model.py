from __future__ import annotations

import unicodedata
from functools import partial

import pytest
import torch
from unrolled.core import LSTM, Bidirectional
from unrolled.data.vocabulary import ByteVocabulary, CharacterVocabulary, WordVocabulary
from unrolled.errors import DataError
from unrolled.tasks import CharModel

TEXT = "the quick brown fox jumps over the lazy dog;\n" * 20
SPEC = {"vocabulary": CharacterVocabulary(TEXT).to_spec()}
SMALL = partial(LSTM, hidden_size=12)


@pytest.fixture
def model() -> CharModel:
    torch.manual_seed(0)
    return CharModel(SPEC, SMALL, embedding_size=6).double().eval()


@pytest.fixture
def of_bytes() -> CharModel:
    torch.manual_seed(0)
    return CharModel({"vocabulary": ByteVocabulary().to_spec()}, SMALL, embedding_size=6).eval()


def test_step_by_step_equals_the_sequence(model):
    ids = torch.from_numpy(model.vocabulary.encode(TEXT[:20])).view(2, 10)
    whole, _ = model(ids)
    state = model.core.initial_state(2, dtype=torch.float64)
    for t in range(10):
        logits, state = model.step(ids[:, t], state)
        torch.testing.assert_close(logits, whole[:, t])


def test_tied_weights_are_one_tensor_and_need_equal_sizes():
    model = CharModel(SPEC, SMALL, embedding_size=12, tie_weights=True)
    assert model.head.weight is model.embedding.weight
    with pytest.raises(
        ValueError, match="the core's output has 12 features, the embedding 6; they must be equal"
    ):
        CharModel(SPEC, SMALL, embedding_size=6, tie_weights=True)


def test_a_core_that_reads_backwards_is_refused():
    with pytest.raises(ValueError, match="Bidirectional is not causal"):
        CharModel(SPEC, partial(Bidirectional, core=SMALL))


class TestGenerate:
    def test_the_same_seed_writes_the_same_text(self, model):
        assert model.generate("the ", length=50, seed=3) == model.generate(
            "the ", length=50, seed=3
        )
        assert model.generate("the ", length=50, seed=3) != model.generate(
            "the ", length=50, seed=4
        )

    @pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
    def test_a_seed_of_more_than_64_bits_is_refused(self, model, seed):
        with pytest.raises(ValueError, match=f"seed={seed}: must be a number of 64 bits"):
            model.generate("the ", length=5, seed=seed)

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

    def test_a_model_of_bytes_writes_bytes(self, of_bytes):
        with torch.no_grad():  # only these are possible
            of_bytes.head.bias.fill_(-1e4)
            of_bytes.head.bias[[0x00 + 1, 0xC3 + 1, 0xFF + 1]] = 0
        text = of_bytes.generate(b"\xff\x00", length=200, seed=0)
        assert len(text) == 200
        assert set(text) == {0x00, 0xC3, 0xFF}
        assert of_bytes.generate("é", length=5, seed=0) == of_bytes.generate(
            "é".encode(), length=5, seed=0
        )
        assert of_bytes.generate(["a", b"b"], length=0) == [b"", b""]

    def test_a_model_of_characters_takes_no_bytes(self, model):
        with pytest.raises(ValueError, match=r"prompt is bytes.*prompt\.decode\(\)"):
            model.generate(b"the")
        with pytest.raises(ValueError, match="stop is bytes"):
            model.generate("the", stop=b"x")

    @pytest.mark.parametrize("prompts", [5, None, {"a": 1}, ["a", 5], ["a", None], [["a"]]])
    def test_what_is_no_text_is_named(self, model, prompts):
        for said in (model.generate, model.score, lambda texts: [*model.generate_stream(texts)]):
            with pytest.raises(TypeError, match=r"must be (a list of )?str$"):
                said(prompts)
        for said in (model.score, lambda texts: [*model.generate_stream(texts)]):
            with pytest.raises(TypeError, match="must be a list of str"):
                said("the")  # three letters

    @pytest.mark.parametrize("stop", ["o", "e ", "the l", "zzz", "\n"])
    def test_a_text_ends_before_its_stop(self, model, stop):
        with torch.no_grad():
            model.head.bias[model.vocabulary.END] = -1e4
        for seed in range(5):
            whole = model.generate("the ", length=80, seed=seed)
            assert model.generate("the ", length=80, seed=seed, stop=stop) == whole.split(stop)[0]
        with pytest.raises(ValueError, match="stop=''"):
            model.generate("the ", stop="")

    def test_a_row_that_stopped_leaves_the_others_alone(self, model):
        with torch.no_grad():
            model.head.bias[model.vocabulary.END] = -1e4
        whole = model.generate(["the ", "fox"] * 3, length=40, seed=1)
        stopped = model.generate(["the ", "fox"] * 3, length=40, seed=1, stop="e")
        assert stopped == [text.split("e")[0] for text in whole]

    def test_long_prompts_are_read_in_chunks(self, model, monkeypatch):
        prompts = [TEXT[:61], "the", TEXT[:40], "the", ""]
        whole = model.generate(prompts, length=20, temperature=0)
        seen = []
        hook = model.core.register_forward_pre_hook(lambda core, given: seen.append(given[0].shape))
        monkeypatch.setattr("unrolled.tasks.char_lm.model._READ", 7)
        first = model.generate(prompts, length=1, temperature=0)
        hook.remove()
        assert first == [text[:1] for text in whole]
        assert len(seen) == -(-62 // 7)
        assert max(shape[1] for shape in seen) == 7
        assert {shape[0] for shape in seen} == {4}, "of equal prompts, one is read"

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


@pytest.mark.parametrize(
    "spec", [CharacterVocabulary("äbr ").to_spec(), WordVocabulary(["bär"]).to_spec()]
)
def test_a_prompt_may_have_its_accents_as_characters(spec):
    model = CharModel({"vocabulary": spec}, SMALL, embedding_size=6).eval()
    typed = unicodedata.normalize("NFD", "bär ")
    assert model.score([typed]) == model.score(["bär "])
    assert list(model.score_stream([typed])) == list(model.score_stream(["bär "]))
    assert model.generate(typed, length=9, seed=1) == model.generate("bär ", length=9, seed=1)
    apart = CharacterVocabulary(typed).to_spec()  # of a text that was left as it is
    left = CharModel({"vocabulary": apart}, SMALL, embedding_size=6)
    assert len(left.score([typed])[0].symbols) == 5
