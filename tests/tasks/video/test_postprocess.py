from __future__ import annotations

import numpy as np
import torch
from unrolled.tasks.video.postprocess import label_video, running_median, without_short_segments


def test_running_median_is_numpys():
    scores = torch.rand(11, 3)
    padded = np.pad(scores.numpy(), ((2, 2), (0, 0)), mode="edge")
    expected = np.stack([np.median(padded[t : t + 5], 0) for t in range(11)])
    np.testing.assert_allclose(running_median(scores, 5), expected)
    assert torch.equal(running_median(scores, 1), scores)
    assert running_median(scores[:2], 5).shape == (2, 3)  # a video shorter than the window
    assert len(running_median(scores[:0], 5)) == 0


def test_short_segments_go_to_the_likelier_neighbour():
    labels = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2])
    scores = torch.zeros(8, 3)
    scores[3, 2] = 0.4
    assert without_short_segments(labels, scores, 2).tolist() == [0, 0, 0, 2, 2, 2, 2, 2]
    scores[3, 0] = 0.5
    assert without_short_segments(labels, scores, 2).tolist() == [0, 0, 0, 0, 2, 2, 2, 2]
    assert without_short_segments(labels, scores, 1).tolist() == labels.tolist()
    assert without_short_segments(labels, scores, 9).tolist() == [2] * 8


def test_what_remains_is_long_enough():
    torch.manual_seed(0)
    scores = torch.rand(200, 4)
    labels = label_video(scores, median=3, min_length=5)
    _, counts = torch.unique_consecutive(labels, return_counts=True)
    assert int(counts.min()) >= 5
    assert len(label_video(scores[:0], median=3, min_length=5)) == 0
