"""The table of a run's metrics."""

from __future__ import annotations

import csv

import pytest
from tiny_runs import RUNS, enter, fit
from unrolled.cli import main


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    enter(tmp_path, monkeypatch, repeats=60)


@pytest.mark.parametrize(
    "damage", [b"\xff\xfe", b'"' + b"x" * 200_000], ids=["no text", "no table"]
)
def test_a_table_that_cannot_be_read_is_named_with_what_to_do(damage, capsys):
    assert fit("--trainer.log_every_n_steps", "1", steps=3) == 0
    table = RUNS / "1" / "metrics.csv"
    csv.field_size_limit(1 << 30)  # as another reader leaves it
    table.write_bytes(table.read_bytes() + damage + b"\n")
    again = ["fit", "char_lm", "--resume", "--trainer.max_steps", "5"]
    assert main(again) == 3
    told = capsys.readouterr().err.strip().splitlines()[-2:]
    assert f"{table}' is damaged" in told[0]
    assert "Move it away" in told[1]
    table.rename("away.csv")
    assert main(again) == 0
    # the header, the checkpoint's own row, two steps
    assert len(table.read_text().splitlines()) == 4


def test_a_row_with_more_cells_than_columns_keeps_those_that_have_a_name():
    assert fit("--trainer.log_every_n_steps", "1", steps=3) == 0
    table = RUNS / "1" / "metrics.csv"
    whole = table.read_text()
    table.write_text(whole + "9,9,9,9,9,9,9,9,9,9\n9")  # and a last line that is not whole
    assert fit("--trainer.log_every_n_steps", "1", "--resume", steps=3) == 0
    assert table.read_text() == whole
