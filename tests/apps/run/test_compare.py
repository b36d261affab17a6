"""What flags replace in a configuration is told, with what is lost by it."""

from __future__ import annotations

import pytest
from unrolled.apps.run.compare import left_out


def made(name: str, **arguments: object) -> dict[str, object]:
    return {"class_path": f"somewhere.{name}", "init_args": arguments}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (made("Adam", lr=1, betas=[0, 1]), made("SGD", lr=1), ["betas [0, 1] left out, lr 1 kept"]),
        (made("Adam", lr=1), made("SGD", lr=2, momentum=0), []),
        (made("Stacked", core=made("GRU"), depth=3), made("LSTM"), ["core, depth 3 left out"]),
        (made("Adam", lr=1, betas=2), made("Adam", lr=3), []),
        (None, made("SGD"), []),
        (made("Adam", lr=1), None, []),
    ],
)
def test_what_another_class_does_not_take_is_told(before, after, told):
    lines = [*left_out({"model": made("M", part=before)}, {"model": made("M", part=after)})]
    assert len(lines) == len(told)
    for line, text in zip(lines, told, strict=True):
        assert line.startswith("--model.part is ")
        assert line.endswith(text)


def test_deep_parts_are_named_by_their_flags():
    before = {"model": made("M", core=made("Stacked", core=made("GRU", bias=True)))}
    after = {"model": made("M", core=made("Stacked", core=made("RNN")))}
    assert [*left_out(before, after)] == ["--model.core.core is RNN: GRU's bias True left out"]
