"""What docs/extend.md shows is examples/, to the letter; installed, it does what the page says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import new_command
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs/extend.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
LINES = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]
COMMANDS = {line: shlex.split(line, comments=True)[1:] for line in LINES if line[:8] == "unrolled"}
# What makes a run on the built-in text small.
FEW = [
    *("--data.batch_size", "2", "--data.chunk_length", "4", "--trainer.max_steps", "1"),
    *("--trainer.limit_val_batches", "1", "--trainer.val_check_interval", "1"),
]
MISTAKES = {
    "nothing is trusted": "info runs/names/1",
    "nor to validate": "validate names.yaml --ckpt_path runs/names/1",
    "a misspelt class": "fit names.yaml --model.core my_project.core.Leeky",
    "its name alone": "fit names.yaml --model.core Leeky",
    "a misspelt module": "fit names.yaml --model.core my_project.cor.Leaky",
    "a package that is not installed": "fit names.yaml --model.core my_projekt.core.Leaky",
    "no data": "fit names.yaml --data.root nowhere",
    "nothing to predict": "predict names.yaml --ckpt_path runs/names/1 --trust my_project",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The Python of an environment on top of this one, in which a copy of my_project is installed.

    It lies in the folder of the copy, in which the commands run.
    """
    folder = tmp_path_factory.mktemp("extend") / "my_project"
    shutil.copytree(EXAMPLES / "my_project", folder, ignore=shutil.ignore_patterns("*.egg-info"))
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin/python"
    site = sysconfig.get_path("purelib", vars={"base": str(venv)})
    base = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(site) / "base.pth").write_text(base)
    flags = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([python, "-m", "pip", "install", *flags, "-e", folder], check=True)
    return python


@pytest.fixture(scope="module")
def answers(python) -> dict[str, tuple[int, str, list[str]]]:
    """What the commands of the page say, in their order, and then the mistakes."""
    asked = {
        line: [*words, *(FEW if "char_lm" in words else [])] for line, words in COMMANDS.items()
    }
    mistakes = {name: line.split() for name, line in MISTAKES.items()}
    return new_command.answers(
        EXAMPLES / "apps", {**asked, **mistakes}, python=str(python), cwd=python.parents[2]
    )


def test_every_block_of_the_page_stands_in_a_file():
    files = [path for path in EXAMPLES.rglob("*") if path.suffix in (".py", ".yaml", ".toml")]
    texts = [path.read_text(encoding="utf-8") for path in files]
    shown = [block for language, block in BLOCKS if language != "sh"]
    assert len(shown) >= 8
    for block in shown:
        assert any(block in text for text in texts), block


@pytest.mark.parametrize(
    ("file", "lines"),
    [("core", 40), ("data", 60), ("model", 50), ("task", 50), ("metric", 40), ("batch", 30)],
)
def test_they_are_as_short_as_the_page_says(file, lines):
    text = (EXAMPLES / f"my_project/my_project/{file}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= lines


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_of_the_page_work(answers, line):
    code, text, _ = answers[line]
    assert code == 0, text


def test_it_learns_and_its_own_metric_is_told(answers):
    validated = next(text for line, (_, text, _) in answers.items() if "validate" in line)
    scores = dict(re.findall(r"^val/(\w+)  ([\d.]+)$", validated, re.MULTILINE))
    assert float(scores["accuracy"]) > 0.6  # a quarter of the names is from each language
    assert float(scores["mrr"]) > float(scores["accuracy"])


def test_the_new_command_lists_the_weights(answers):
    text = next(text for line, (_, text, _) in answers.items() if line[:16] == "unrolled weights")
    assert re.search(r"^core\.recurrent\.weight +64 x 64 +\d\.\d{4}$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("mistake", "code", "text"),
    [
        ("nothing is trusted", 3, r"'my_project\.task\.Name.*\n.*--trust my_project"),
        ("nor to validate", 3, r"not loaded\.\n.*--trust my_project"),
        ("a misspelt class", 2, r"There is no class 'my_project.core.Leeky'\. .* 'Leaky'\?"),
        ("its name alone", 2, r"There is no class 'Leeky'\. Did you mean 'Leaky'\?"),
        ("a misspelt module", 2, r"There is no module 'my_project\.cor'\. .* 'core'\?"),
        ("a package that is not installed", 2, r"There is no module 'my_projekt'\."),
        ("no data", 3, "'nowhere' has too few names"),
        ("nothing to predict", 2, "NamesData has nothing to predict: write its predict_datal"),
    ],
)
def test_mistakes_are_answered_in_a_line_or_two(answers, mistake, code, text):
    assert answers[mistake][0] == code
    assert re.search(text, answers[mistake][1])
    said = [line for line in answers[mistake][1].splitlines() if not line.startswith("using ")]
    assert len(said) <= 2


def test_its_model_is_loaded_by_those_who_trust_it(answers, python):
    code = (
        "import runpy, sys, unrolled; runpy.run_path('classify.py')\n"
        "print({'lightning', 'jsonargparse'} & set(sys.modules))\n"
        "unrolled.load('runs/names/1')"
    )
    done = subprocess.run(
        [python, "-c", code], cwd=python.parents[2], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("[('Finnish', 0."), done.stderr
    assert done.stdout.endswith("\nset()\n")
    assert "DataError: " in done.stderr
    assert "trust=['my_project']" in done.stderr


@pytest.mark.slow  # seventy tests of a core, after all are collected
def test_its_core_keeps_the_contract(python):
    line = next(line for line in LINES if line.startswith("UNROLLED_CORES="))
    setting, _, *words = shlex.split(line)
    name, _, value = setting.partition("=")
    own = python.parents[2] / "tests/test_core.py"
    done = subprocess.run(
        [python, *words, own, "-q", "-m", "not slow", "-p", "no:cacheprovider"],
        cwd=ROOT, env={**os.environ, name: value}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 30


def test_a_batch_of_nothing_has_a_gradient_for_every_weight():
    sys.path.append(str(EXAMPLES / "my_project"))
    try:
        from my_project.core import Leaky
        from my_project.data import NamesData
        from my_project.model import NameModel
    finally:
        sys.path.pop()
    from unrolled.data import Items

    data = NamesData(str(EXAMPLES / "my_project/names"))
    names, _ = data.contents("train")
    model = NameModel(data.spec, lambda size: Leaky(size, 4))
    batch = names[Items((), 0)]
    assert batch.lengths.dtype == torch.int64
    model(batch.input, batch.lengths).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
