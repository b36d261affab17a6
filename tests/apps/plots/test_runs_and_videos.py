"""Pictures of runs and of videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from unrolled import plots
from unrolled.apps.pictures.timeline import palette
from unrolled.apps.plots.timeline import VideoLabels, draw
from unrolled.errors import DataError, UsageError
from video_models import CLASSES, make_model

TABLE = """epoch,step,train/loss,train/lr,val/bleu,val/chrf,val/loss
0,9,3.0,0.1,,,
0,19,2.5,0.2,,,
0,19,,,10.0,30.0,2.6
0,29,2.0,0.1,,,
0,29,,,30.0,20.0,2.2
0,39,nan,0.0,,,
0,39,,,20.0,40.0,2.4
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "translation" / "1"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(TABLE)
    (folder / "config.yaml").write_text("checkpoint:\n  monitor: val/bleu\n  mode: max\n")
    (folder / "resumed.csv").write_text("step\n20\n")
    return folder


def titles(figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_a_run_has_its_curves(run):
    figure = plots.curves(run)
    assert titles(figure)[1:] == ["val/bleu", "val/chrf", "train/lr"]
    loss, bleu, _, rate = figure.axes
    train, val = (line.get_xydata().tolist() for line in loss.lines[:2])
    assert train == [[9, 3.0], [19, 2.5], [29, 2.0]]  # what is no number is left out
    assert val == [[19, 2.6], [29, 2.2], [39, 2.4]]
    star = [line for line in bleu.lines if line.get_marker() == "*"]
    assert star[0].get_xydata().tolist() == [[29, 30.0]]
    assert rate.lines[0].get_ydata().tolist() == [0.1, 0.2, 0.1, 0.0]
    for axes in figure.axes:  # where it was resumed
        assert [20, 20] in [list(line.get_xdata()) for line in axes.lines]
    assert figure.said == [
        "translation/1: to step 39, best val/bleu 30.0000 at step 29, resumed 1 time(s)"
    ]


def test_the_best_of_equals_is_that_of_the_lower_loss(run):
    rows = ["epoch,step,val/bleu,val/loss", "0,19,30,2.6", "0,29,30,2.2", "0,39,30,2.4"]
    (run / "metrics.csv").write_text("\n".join(rows) + "\n")
    assert "best val/bleu 30.0000 at step 29" in plots.curves(run).said[0]


def test_several_runs_side_by_side_and_metrics_that_are_asked_for(run):
    other = run.parent / "b"
    other.mkdir()
    (other / "metrics.csv").write_text("epoch,step,val/loss\n0,5,1.0\n")
    figure = plots.curves(run.parent, metrics="val/loss, val/chrf")
    assert titles(figure) == ["val/loss", "val/chrf"]
    assert [line.partition(":")[0] for line in figure.said] == ["translation/1", "translation/b"]
    colours = [line.get_color() for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(set(colours)) == 2


@pytest.mark.parametrize(
    ("words", "kind", "answer"),
    [
        ([], UsageError, "Whose curves?"),
        (["runs/nothing"], DataError, "There is no run 'runs/nothing'"),
        (["runs"], DataError, "'runs' has no metrics.csv"),
    ],
)
def test_mistakes_with_runs(run, monkeypatch, words, kind, answer):
    monkeypatch.chdir(run.parents[2])
    with pytest.raises(kind) as error:
        plots.curves(*words)
    assert answer in str(error.value)


def test_a_metric_that_is_not_there_and_a_table_without_any(run):
    with pytest.raises(UsageError, match=r"'val/blue'\. Did you mean 'val/bleu'\?"):
        plots.curves(run, metrics="val/blue")
    (run / "metrics.csv").write_text("epoch,step,val/loss\n")
    with pytest.raises(DataError, match="holds no metrics yet"):
        plots.curves(run)


def test_bars_have_the_colours_of_their_classes_and_the_matrix_counts():
    truth = np.array([0, 0, 1, 1, 1, -100, 2, 2])
    predicted = np.array([0, 1, 1, 1, 2, 2, 2, 2])
    figure = draw(VideoLabels("a.mp4", predicted, np.full(8, 0.5), truth, 0.7), CLASSES, ["rest"])
    bars = [axes for axes in figure.axes if axes.patches and axes.texts]
    assert [axes.texts[0].get_text() for axes in bars[:2]] == ["truth", "predicted"]
    colours = palette(CLASSES, ["rest"])
    for axes, labels in zip(bars, (truth, predicted), strict=False):
        for patch in axes.patches:
            label = labels[int(patch.get_x())]
            shade = np.array(colours[CLASSES[label]]) / 255
            assert np.allclose(to_rgb(patch.get_facecolor()), shade)
        assert sum(patch.get_width() for patch in axes.patches) == (labels >= 0).sum()
    matrix = np.asarray(next(axes for axes in figure.axes if axes.images).images[0].get_array())
    wanted = [[0.5, 0.5, 0], [0, 2 / 3, 1 / 3], [0, 0, 1]]
    assert np.allclose(matrix, wanted)
    assert figure.said == ["8 frames, 3 segments", "71.4 % of 7 labelled frames are right"]


def test_a_video_of_features_with_and_without_its_truth(tmp_path):
    model = make_model()
    features = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    np.save(tmp_path / "a.npy", features)
    (tmp_path / "a.csv").write_text("start,end,label\n0,5,cut\n5,20,mix\n")
    (tmp_path / "a.txt").write_text("cut\n" * 5 + "mix\n" * 15)
    labels = [one.name for one in model.label(features)]
    right = sum(a == b for a, b in zip(labels, ["cut"] * 5 + ["mix"] * 15, strict=True))
    for truth in ("a.csv", "a.txt"):
        figure = plots.timeline(model, tmp_path / "a.npy", truth=str(tmp_path / truth))
        assert figure.said[1].startswith(f"{5 * right:.1f} % of 20")
    assert len(plots.timeline(model, str(tmp_path / "a.npy")).said) == 1
    (tmp_path / "short.txt").write_text("cut\n")
    with pytest.raises(DataError, match="labels 1 frames, and the video has 20"):
        plots.timeline(model, tmp_path / "a.npy", truth=str(tmp_path / "short.txt"))
    with pytest.raises(DataError, match=r"no file of features .*none\.npy"):
        plots.timeline(model, "none.npy")


def test_many_classes_with_long_names_stay_in_the_picture():
    names = [f"class {n} " + "x" * 80 for n in range(40)]
    labels = np.arange(40).repeat(2)
    figure = draw(VideoLabels("v" * 300, labels, np.full(80, 0.9), labels), names)
    figure.canvas.draw()
    width = figure.bbox.width
    renderer = figure.canvas.get_renderer()
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible():
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1, text
            assert box.x1 <= width + 1, text
