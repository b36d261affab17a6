from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from unrolled.tasks.metrics import FrameMAP, SegmentationScores, segmentation
from unrolled.tasks.metrics.segmentation import edit_score, match_segments, run_lengths


@pytest.mark.parametrize("background", ["ignored", "counted"])
@pytest.mark.parametrize("pooled", [True, False])
def test_scores_equal_the_golden_file(shared_data, background, pooled):
    golden = json.loads((shared_data("golden") / "segmentation_50salads.json").read_text())
    found = []
    for split in golden["splits"]:
        metric = SegmentationScores(18, [0] if background == "ignored" else [], pooled=pooled)
        for video in split:
            metric.update(torch.tensor(video["pred"]), torch.tensor(video["true"]))
        found.append(metric.compute())
    means = {name: np.mean([scores[name] for scores in found]) for name in found[0]}
    expected = golden["scores"][background]
    f1 = expected["f1" if pooled else "f1_vid"]
    assert means["acc"] == pytest.approx(expected["acc" if pooled else "acc_vid"], abs=0.01)
    assert means["edit"] == pytest.approx(expected["edit"], abs=0.01)
    # The file's F1 are means over splits of numbers that were rounded to one decimal: multiples of
    # 0.02.
    rounded = [
        np.mean([round(scores[f"f1@{overlap}"], 1) for scores in found]) for overlap in (10, 25, 50)
    ]
    assert rounded == pytest.approx(f1, abs=0.001)
    assert [means["f1@10"], means["f1@25"], means["f1@50"]] == pytest.approx(f1, abs=0.05)


def test_the_last_segment_ends_at_the_last_frame():
    segments = run_lengths(np.array([2, 2, 0, 0, 1]))
    assert [part.tolist() for part in segments] == [[2, 0, 1], [0, 2, 4], [2, 4, 5]]
    assert [part.tolist() for part in run_lengths(np.array([], dtype=int))] == [[], [], []]


def test_background_is_dropped_after_the_runs_were_found():
    assert run_lengths(np.array([1, 0, 1, 1]), [0]).label.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("pred", "true", "distance", "longer"),
    [
        ("kitten", "sitting", 3, 7),
        ("", "abc", 3, 3),
        ("abc", "", 3, 3),
        ("", "", 0, 1),
        ("flaw", "lawn", 2, 4),
    ],
)
def test_edit_score_is_levenshteins(pred, true, distance, longer):
    first, second = (np.frombuffer(text.encode(), np.uint8) for text in (pred, true))
    assert edit_score(first, second) == pytest.approx(1 - distance / longer)


def test_a_true_segment_is_hit_once():
    true = torch.tensor([1] * 10 + [2] * 10)
    pred = torch.tensor([1] * 6 + [0] * 1 + [1] * 3 + [2] * 10)
    metric = SegmentationScores(3, [0])
    metric.update(pred, true)
    scores = metric.compute()
    assert scores["f1@50"] == pytest.approx(100 * 4 / 5)  # 2 hits, 1 false, none missed
    assert scores["f1@10"] == pytest.approx(100 * 4 / 5)
    assert scores["edit"] == pytest.approx(100 * 2 / 3)
    assert scores["acc"] == pytest.approx(95.0)


def test_frames_without_a_label_do_not_exist():
    pred, true = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 1, 1, 1, 2])
    with_gaps = SegmentationScores(3)
    with_gaps.update(
        torch.tensor([0, 2, 0, 1, 1, 2, 2, 0]), torch.tensor([0, -100, 0, 1, 1, 1, 2, -100])
    )
    plain = SegmentationScores(3)
    plain.update(pred, true)
    assert with_gaps.compute() == plain.compute()
    with_gaps.update(torch.tensor([1, 2]), torch.tensor([-100, -100]))  # no video at all
    assert with_gaps.compute() == plain.compute()


def test_mean_over_the_classes_that_occur():
    metric = SegmentationScores(4)
    metric.update(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
    assert metric.compute()["acc_mean"] == pytest.approx(75.0)


def test_scores_do_not_depend_on_the_order_to_the_last_bit():
    torch.manual_seed(0)
    videos = [(torch.randint(4, (length,)), torch.randint(4, (length,))) for length in range(3, 40)]
    results = []
    for order in (videos, videos[::-1]):
        metric = SegmentationScores(4, [0], pooled=False)
        for pred, true in order:
            metric.update(pred, true)
        results.append(metric.compute())
    assert results[0] == results[1]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"background \[4\]: class numbers are 0 to 2"):
        SegmentationScores(3, [0, 4])
    with pytest.raises(
        ValueError, match=r"pred is \(3,\) and true \(4,\): one number for each frame"
    ):
        SegmentationScores(3).update(torch.zeros(3).long(), torch.zeros(4).long())


def test_settings_are_told():
    assert "leave out 0;" in SegmentationScores(3, [0]).settings()
    assert "leave out cut, peel;" in SegmentationScores(3, [0, 2]).settings(["cut", "mix", "peel"])
    assert (
        "count all classes; accuracy and F1 are means"
        in SegmentationScores(3, pooled=False).settings()
    )


def test_mean_average_precision_over_frames():
    scores = torch.tensor(
        [[0.1, 0.9, 0.0], [0.6, 0.4, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0], [0.5, 0.5, 0.0]]
    )
    true = torch.tensor([1, 1, 0, 0, -100])
    metric = FrameMAP(3)
    metric.update(scores, true)
    # Class 1 ranks right, wrong, right: (1 + 2/3) / 2. Class 0 likewise. Class 2 never occurs.
    assert metric.compute().item() == pytest.approx(100 * (1 + 2 / 3) / 2, rel=1e-6)
    split = FrameMAP(3, background=[0])
    for begin, end in [(0, 2), (2, 2), (2, 5)]:
        split.update(scores[begin:end], true[begin:end])
    assert split.compute().item() == pytest.approx(100 * (1 + 2 / 3) / 2, rel=1e-6)


def pair_by_pair(pred, true, overlap):
    """Match every segment with every other, as the definition says."""
    taken = set()
    for label, start, end in zip(*pred, strict=True):
        ratios = [
            (min(end, e) - max(start, s)) / (max(end, e) - min(start, s)) if label == other else 0
            for other, s, e in zip(*true, strict=True)
        ]
        if ratios and max(ratios) >= overlap:
            taken.add(ratios.index(max(ratios)))
    return len(taken), len(pred.label) - len(taken), len(true.label) - len(taken)


@pytest.mark.parametrize("classes", [1, 2, 4])
@pytest.mark.parametrize("background", [[], [0]])
@pytest.mark.parametrize("frames", [0, 1, 60, 200])
def test_segments_are_matched_as_pair_by_pair(frames, background, classes):
    draw = np.random.default_rng(frames)
    for stay in (1, 1, 3, 7):
        pred, true = (
            run_lengths(draw.integers(0, classes, frames).repeat(stay)[:frames], background)
            for _ in range(2)
        )
        for overlap in segmentation.OVERLAPS:
            assert match_segments(pred, true, overlap) == pair_by_pair(pred, true, overlap)


def test_labels_that_flicker_through_hours_are_scored():
    """All pairs of segments would have 80 GB."""
    frames = torch.arange(100_000)
    metric = SegmentationScores(2)
    metric.update(frames % 2, (frames // 2) % 2)
    assert metric.compute()["acc"] == pytest.approx(50, abs=0.1)
