from __future__ import annotations

import pytest
import sacrebleu
import torch
from unrolled.tasks.metrics import BitsPerCharacter, SacreBLEU


def test_bits_do_not_depend_on_the_batches():
    torch.manual_seed(0)
    nats = torch.rand(10_000)
    whole, parts = BitsPerCharacter(), BitsPerCharacter()
    whole.update(nats.sum(), 10_000)
    for chunk in nats.split(7):
        parts.update(chunk.sum(), len(chunk))
    expected = nats.double().mean() / torch.tensor(2.0).log().double()
    torch.testing.assert_close(parts.compute(), expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(whole.compute(), expected, rtol=1e-6, atol=0)


CANDIDATES = [
    "Ein Mann fährt ein Rad.",
    "Der Hund läuft über die Straße.",
    "",
    "Zwei Katzen schlafen auf dem Dach.",
]
REFERENCES = [
    "Ein Mann fährt Rad.",
    "Der Hund läuft über die Straße.",
    "Nichts.",
    "Zwei Katzen schlafen hier auf dem Dach",
]


@pytest.mark.parametrize("sizes", [[4], [1, 0, 2, 1]])
def test_bleu_and_chrf_are_sacrebleus_whatever_the_batches(sizes):
    metric, first = SacreBLEU(), 0
    for size in sizes:
        metric.update(CANDIDATES[first : first + size], REFERENCES[first : first + size])
        first += size
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found["bleu"] == pytest.approx(sacrebleu.corpus_bleu(CANDIDATES, [REFERENCES]).score)
    assert found["chrf"] == pytest.approx(sacrebleu.corpus_chrf(CANDIDATES, [REFERENCES]).score)
    assert found["bleu"] > 20
    assert found["exact"] == 25
    assert "tok:13a" in metric.signatures()["bleu"]
    metric.reset()
    metric.update([], [])
    assert {float(value) for value in metric.compute().values()} == {0.0}


def test_what_a_tokenization_lacks_is_said_in_a_line(monkeypatch):
    def lacking(**_):
        raise RuntimeError("\nIt needs more.\n\n  pip install sacrebleu[ja]\n")

    lacking.TOKENIZERS = ["ja-mecab"]
    monkeypatch.setattr("unrolled.tasks.metrics.text.BLEU", lacking)
    with pytest.raises(
        ValueError, match=r"^tokenize='ja-mecab': It needs more. pip install sacrebleu\[ja\]$"
    ):
        SacreBLEU(tokenize="ja-mecab")


@pytest.mark.parametrize(
    ("references", "tokenize", "can_tell"),
    [
        (["a dog runs", "the cat"], "13a", True),
        (["\u72d7\u5728\u8dd1\u3002", "\u732b"], "13a", False),  # no spaces between words
        (["\u72d7\u5728\u8dd1\u3002", "\u732b"], "zh", True),
        (["went", "ran", "the end"], "13a", False),  # of one word there are no four in a row
    ],
)
def test_bleu_says_where_it_can_not_tell(references, tokenize, can_tell):
    metric = SacreBLEU(tokenize=tokenize)
    metric.update(references, references)
    metric.compute()
    assert metric.can_tell is can_tell
