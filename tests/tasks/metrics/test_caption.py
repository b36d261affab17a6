"""Caption metrics against the scores of coco-caption's own programs, and over processes."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest
import torch
from unrolled.tasks.metrics import CaptionScores, CiderD
from unrolled.tasks.metrics.overlap import bleu, longest_common_subsequence, rouge_l
from unrolled.tasks.metrics.ptb import ptb_words

NAMES = {
    "bleu1": "Bleu_1",
    "bleu2": "Bleu_2",
    "bleu3": "Bleu_3",
    "bleu4": "Bleu_4",
    "rouge_l": "ROUGE_L",
    "cider_d": "CIDEr",
}


@pytest.fixture(scope="module")
def golden(shared_data):
    return json.loads(shared_data("golden/coco_caption_126.json").read_text())


def captions(golden, kind: str) -> tuple[list[str], list[list[str]]]:
    return [golden[f"res_{kind}"][key][0] for key in golden[f"gts_{kind}"]], list(
        golden[f"gts_{kind}"].values()
    )


@pytest.mark.parametrize(("kind", "tolerance"), [("raw", 1e-4), ("tok", 1e-6)])
def test_equals_coco_caption(golden, kind, tolerance):
    metric = CaptionScores()
    for one, texts in zip(*captions(golden, kind), strict=True):
        metric.update([one], [texts])
    scores = metric.compute()
    for name, theirs in NAMES.items():
        assert float(scores[name]) == pytest.approx(golden["scores"][theirs], abs=tolerance), name


@pytest.mark.parametrize("kind", ["raw", "tok"])
def test_each_image_has_the_official_cider(golden, kind):
    candidates, references = captions(golden, kind)
    scorer = CiderD.from_references(references)
    assert scorer.scores(candidates, references) == pytest.approx(
        golden["cider_per_image"], abs=1e-6
    )


def test_splits_words_as_the_official_tokenizer(golden):
    for raw, tokens in zip(golden["gts_raw"].values(), golden["gts_tok"].values(), strict=True):
        for text, words in zip(raw, tokens, strict=True):
            assert ptb_words(text) == words.split()
            assert ptb_words(words) == words.split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "Don't say it's 3.5 o'clock, the U.S. can't...",
            "do n't say it 's 3.5 o'clock the u.s. ca n't",
        ),
        ('A "well-lit" room -- with 1,000 lamps!', "a well-lit room with 1,000 lamps"),
        ("A dog’s bowl (empty)", "a dog 's bowl -lrb- empty -rrb-"),
        ("cows' and Mr. Smith & son cannot", "cows and mr. smith & son can not"),
        (" . ", ""),
        ("Ein Café", "ein café"),
    ],
)
def test_knows_the_treebank_rules_that_captions_meet(text, words):
    assert ptb_words(text) == words.split()
    assert ptb_words(words) == words.split()


def test_bleu_takes_the_shorter_of_two_equally_near_references():
    words = ["a", "b", "c", "d"]
    near = [["a", "b", "c"], ["a", "b", "c", "d", "e"]]  # one word shorter, one longer
    assert bleu([words], [near])[0] == bleu([words], [near[::-1]])[0] == pytest.approx(1.0)
    assert bleu([words], [near[1:]])[0] == pytest.approx(0.7788, abs=1e-4)  # exp(1 - 5/4)


def test_rouge_takes_best_precision_and_best_recall():
    # precision 1 from the first reference, recall 1 from the second
    assert rouge_l(["a", "b"], [["a", "b", "c", "d"], ["a"]]) == pytest.approx(1.0)
    precision, recall = 1 / 2, 1 / 3
    expected = 2.44 * precision * recall / (recall + 1.44 * precision)
    assert rouge_l(["a", "x"], [["a", "b", "c"]]) == pytest.approx(expected)
    assert rouge_l([], [["a"]]) == rouge_l(["x"], [["a"]]) == 0


def test_the_common_subsequence_is_the_textbooks():
    def textbook(left, right):
        table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
        for i, j in itertools.product(range(len(left)), range(len(right))):
            same = left[i] == right[j]
            table[i + 1][j + 1] = table[i][j] + 1 if same else max(table[i][j + 1], table[i + 1][j])
        return table[-1][-1]

    draw = random.Random(0)
    for _ in range(300):
        left, right = ([draw.choice("abcd") for _ in range(draw.randrange(12))] for _ in range(2))
        assert longest_common_subsequence(left, right) == textbook(left, right)


def test_nothing_is_scored_as_nothing():
    metric = CaptionScores()
    metric.update([], [])
    assert {name: float(value) for name, value in metric.compute().items()} == dict.fromkeys(
        [*NAMES, "distinct"], 0
    )
    metric.update(["", ""], [["a dog"], ["a cat"]])
    scores = metric.compute()
    assert all(float(scores[name]) == 0 for name in NAMES)
    assert float(scores["distinct"]) == 0.5


def test_one_image_has_no_cider_and_one_caption_for_all_is_seen():
    metric = CaptionScores()
    metric.update(["a dog runs"], [["a dog runs"]])
    assert float(metric.compute()["cider_d"]) == 0
    metric.update(["a dog runs"] * 3, [["a cat"], ["a cow"], ["a man"]])
    assert float(metric.compute()["distinct"]) == 0.25
    metric.reset()
    metric.update(["a cow"], [["a cow"]])
    assert float(metric.compute()["bleu1"]) == pytest.approx(1)


def test_the_same_number_counts_once(golden):
    candidates, references = captions(golden, "tok")
    once, twice = CaptionScores(), CaptionScores()
    once.update(candidates, references)
    twice.update(candidates, references, range(len(candidates)))
    twice.update(candidates[:9], references[:9], torch.arange(9))
    assert twice.compute() == once.compute()


def test_says_what_is_missing():
    metric = CaptionScores()
    with pytest.raises(ValueError, match="an image has no references"):
        metric.update(["a dog"], [[]])
    with pytest.raises(ValueError, match="2 candidates, 1 lists of references"):
        metric.update(["a dog", "a cat"], [["a dog"]])


def test_a_reward_needs_only_the_training_sets_frequencies(golden):
    """Self-critical training: any caption against any image, the frequencies of the whole set."""
    candidates, references = captions(golden, "raw")
    scorer = CiderD.from_references(references)
    doubled = scorer.scores([*candidates[:3], *candidates[:3]], [*references[:3], *references[:3]])
    assert doubled == pytest.approx(golden["cider_per_image"][:3] * 2, abs=1e-6)
    assert scorer.scores(["words never seen", ""], references[:2]) == [0, 0]


SCRIPT = """
import json, sys
import torch
from unrolled.tasks.metrics import CaptionScores

folder, rank = sys.argv[1], int(sys.argv[2])
candidates, references = json.load(open(f"{folder}/captions.json"))
torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
for shares in ([slice(0, 5), slice(5, None)], [slice(0, None), None]):
    metric = CaptionScores()
    if (share := shares[rank]) is not None:
        metric.update(candidates[share], references[share], range(len(candidates))[share])
    print(json.dumps({name: float(value) for name, value in metric.compute().items()}))
"""


@pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch was built without torch.distributed"
)
def test_two_processes_score_what_one_does(forks, golden, tmp_path):
    """Once with shares of different size, once with nothing for the second process."""
    candidates, references = (part[:20] for part in captions(golden, "raw"))
    metric = CaptionScores()
    metric.update(candidates, references)
    expected = {name: float(value) for name, value in metric.compute().items()}
    (tmp_path / "captions.json").write_text(json.dumps([candidates, references]))
    script, outputs = tmp_path / "script.py", [tmp_path / "0.jsonl", tmp_path / "1.jsonl"]
    script.write_text(SCRIPT)
    both = [
        forks.start(tmp_path, [str(script), str(tmp_path), str(rank)], out=output)
        for rank, output in enumerate(outputs)
    ]
    for process, output in zip(both, outputs, strict=True):
        with process:
            assert process.wait() == 0, process.err
        lines = output.read_text().splitlines()
        assert len(lines) == 2
        for line in lines:
            assert json.loads(line) == pytest.approx(expected, abs=1e-12)


GOLDEN = json.loads(Path(__file__).with_name("ptb_golden.json").read_text(encoding="utf-8"))


def test_words_are_those_of_the_tokenizer_that_coco_caption_calls():
    """What stanford-corenlp 3.4.1 answered, with coco-caption's list of punctuation left out."""
    assert len(GOLDEN) > 700
    wrong = {text: ptb_words(text) for text, words in GOLDEN.items() if ptb_words(text) != words}
    assert not wrong


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Sunset Blvd. at night", "sunset blvd. at night"),
        ("The U.S.A team", "the u.s.a team"),
        ("A man parked.A woman waits", "a man parked.a woman waits"),
        ("It is 5:54pm here", "it is 5:54 pm here"),
        ("Plan B. The cat", "plan b the cat"),
        ("John B. Smith", "john b. smith"),
    ],
)
def test_full_stops_stay_where_they_belong_to_the_word(text, words):
    assert ptb_words(text) == words.split()
