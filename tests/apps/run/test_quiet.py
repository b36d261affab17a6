"""A run says nothing that is of no use: no warning of a library's about what is in order."""

from __future__ import annotations

import re
import warnings

import pytest
import tiny_tasks
from unrolled.cli import main

NO_VALIDATION = {
    "char_lm": ("--data.val_fraction", "0"),
    "captioning": ("--data.val_size", "0"),
    "video": ("--data.val_fraction", "0"),
}
STRAY = re.compile(
    r"(?i)\bwarn|total length|running median over 1\b|``compute``|advice|\bconsider\b"
)


FROZEN = tiny_tasks.Case(
    "captioning",
    lambda folder: None,
    (
        *("--data.val_size", "5", "--data.train_size", "10", "--model.max_length", "8"),
        *("--model.decoder.hidden_size", "6", "--model.embedding_size", "5"),
        *("--model.encoder.backbone", "TorchvisionBackbone", "--model.encoder.output_size", "4"),
        *("--model.encoder.backbone.name", "mobilenet_v3_small"),
    ),
)
CASES = {case.task: case for case in tiny_tasks.CASES} | {"frozen": FROZEN}


ALONE = ("char_lm", "translation")  # the others' are slow: it is the loop that warns


@pytest.mark.parametrize(
    ("case", "validated"),
    [
        pytest.param(
            *(case, validated),
            id=f"{name}-{'validated' if validated else 'alone'}",
            marks=[] if validated or name in ALONE else pytest.mark.slow,
        )
        for name, case in CASES.items()
        for validated in (True, False)
    ],
)
def test_a_fit_prints_no_stray_warning(tmp_path, monkeypatch, capfd, case, validated):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "cache"))
    case.write(tmp_path)
    flags = [
        "--data.batch_size",
        "4",
        "--trainer.max_steps",
        "4",
        "--trainer.val_check_interval",
        "2",
    ]
    flags += ["--trainer.check_val_every_n_epoch", "null", "--trainer.accelerator", "cpu"]
    if not validated:
        if case.task == "translation":
            for file in tmp_path.glob("val.*"):
                file.unlink()
        else:
            flags += NO_VALIDATION[case.task]
        flags += ["--checkpoint.monitor", "null"]
    with warnings.catch_warnings(record=True) as heard:
        warnings.resetwarnings()  # none is left out or an error
        code = main(["fit", case.variant, *case.flags, *flags])
    said = capfd.readouterr()
    assert code == 0, said.err
    # Python shows no deprecations
    shown = [one for one in heard if not issubclass(one.category, DeprecationWarning)]
    assert not shown, [str(one.message) for one in shown]
    lines = [line for line in (said.out + said.err).splitlines() if STRAY.search(line)]
    assert not [line for line in lines if not line.startswith("Warning: ")], lines  # ours
