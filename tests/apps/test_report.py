"""`unrolled report` from the command line: whole, for itself, and proof against what files say."""

from __future__ import annotations

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from app_models import write_models
from unrolled.apps.pages import tested
from unrolled.apps.pages.card import MARK, escaped, fenced
from unrolled.cli import main
from unrolled.errors import DataError

RUN = Path("runs/char_lm/a")
EVIL = "<script>alert(1)</script><img src=http://x.y/z onerror=alert(1)>"
QUICK = ["--example", "th"]  # pictures of two letters take no time
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """A page that was read strictly: every element is closed, in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open
        self.ids = [value for _, name, value in self.attributes if name == "id"]
        self.headings = re.findall(r"<h2>(.*?)</h2>", text)

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        assert len(dict(attributes)) == len(attributes)
        self.attributes += [(tag, name, value or "") for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def pictures(self) -> list[bytes]:
        found = [value for tag, name, value in self.attributes if (tag, name) == ("img", "src")]
        assert all(re.match(r"data:image/(png|svg\+xml);base64,", one) for one in found)
        return [base64.b64decode(one.partition(",")[2], validate=True) for one in found]


def page_of(path: Path | str = "report.html") -> Page:
    text = Path(path).read_text(encoding="utf-8")
    assert len(text.encode()) < 5_000_000
    page = Page(text)
    refuse_loads(page)
    return page


def refuse_loads(page: Page) -> None:
    """Fail where a browser would load or run anything."""
    for tag, name, value in page.attributes:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form", "svg"}
        assert not name.startswith("on")
        if name in {"src", "href", "srcset", "action", "poster", "data", "background"}:
            assert value.startswith(("data:image/", "#")), (tag, name, value[:80])
        if name == "style":
            assert "url" not in value
    assert len(page.ids) == len(set(page.ids))
    links = {value[1:] for _, name, value in page.attributes if name == "href"}
    assert links == set(page.ids)


def leave_scores(run: Path, **more) -> Path:
    """Leave what a test would leave."""
    folder = run / "results" / "last"
    folder.mkdir(parents=True, exist_ok=True)
    said = {"step": 1, "scores": {"test/loss": 1.25, "test/none": None}, "signatures": {"s": "S|1"}}
    (folder / "scores.json").write_text(json.dumps({**said, **more}))
    return folder


@pytest.fixture(autouse=True)
def _course(request) -> None:
    """Give the run a course, and a model that writes something."""
    if "here" in request.fixturenames:
        request.getfixturevalue("here")
        rows = "".join(f"{n},{2 / n},{3 / n}\n" for n in range(1, 5))
        (RUN / "metrics.csv").write_text(f"step,train/loss,val/loss\n{rows}")


def test_a_report_of_a_run_has_everything(here, capsys):
    folder = leave_scores(RUN)
    head = "document\tname\tsymbols\tbits_per_character\n"
    rows = "".join(f"{n}\tx\\ty\t9\t{n}.5\n" for n in range(1, 30))
    (folder / "documents.tsv").write_text(head + rows)
    assert main(["report", str(RUN)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("report.html (")
    page = page_of()
    assert page.headings == [
        *("Overview", "Scores", "Curves", "Samples", "Pictures", "Data", "Configuration"),
        "How to reproduce it",
    ]
    pictures = page.pictures()
    assert len(pictures) == 5  # curves, surprise, neurons, unrolled, memory
    for one in pictures:
        assert one.startswith(b"\x89PNG") or ElementTree.fromstring(one).tag.endswith("svg")
    text = "".join(page.text)
    for said in ("CharLM", "1.2500", "not finite", "S|1", "x\ty", "of 29", "hidden_size: 4"):
        assert said in text, said
    assert "unrolled fit runs/char_lm/a/config.yaml" in text
    assert (RUN / "config.yaml").read_text() in text
    first = Path("report.html").read_bytes()
    assert main(["report", str(RUN)]) == 0
    assert Path("report.html").read_bytes() == first  # the same run is the same page


def test_several_runs_stand_side_by_side(here, capsys):
    shutil.copytree(RUN, "runs/char_lm/b")
    config = Path("runs/char_lm/b/config.yaml")
    config.write_text(config.read_text().replace("batch_size: 2", "batch_size: 77"))
    leave_scores(RUN)
    assert main(["report", "runs/char_lm", "--out", "two.html", *QUICK]) == 0
    page = page_of("two.html")
    text = "".join(page.text)
    assert "What differs" in text
    assert len(re.findall("77", text)) >= 2
    assert len(page.pictures()) == 9  # the curves are one
    assert "Scores of a test: none was made" in capsys.readouterr().out
    assert "What is missing" in page.headings
    assert (
        main(["report", str(RUN), str(RUN / "checkpoints/last.ckpt"), "--out", "two.html", *QUICK])
        == 0
    )
    assert "a (runs/char_lm/a/checkpoints/last.ckpt)" in "".join(page_of("two.html").text)


def test_what_files_say_is_text(here, capsys):
    run = Path("runs/char_lm") / "<script>alert(1)<"
    (run / "results").mkdir(parents=True)
    shutil.copytree(RUN / "checkpoints", run / "checkpoints")
    (run / "config.yaml").write_text(
        f"# unrolled fit {EVIL.replace(' ', '')}\n" + yaml.safe_dump({EVIL: [EVIL], "model": EVIL})
    )
    (run / "metrics.csv").write_text(f'step,"val/{EVIL}","</style>{EVIL}"\n1,2,3\n2,3,4\n')
    folder = leave_scores(run, scores={EVIL: 1}, signatures={"x": EVIL}, step=EVIL)
    for name in ("documents", "captions", "translations", "videos", "classes", "confusion"):
        columns = "id name source caption references bits_per_character class frames truth".split()
        row = "\t".join([EVIL] * (len(columns) + 1))
        text = "\t".join([*columns, EVIL]) + "\n" + f"{row}\n" * 9
        (folder / f"{name}.tsv").write_text(text)
    assert main(["report", str(run), "--example", EVIL, "--card"]) == 0
    page = page_of()
    assert "".join(page.text).count("<script>alert(1)</script>") > 20
    card = (run / "README.md").read_text()
    outside = re.sub(r"(?s)^(`{3,})\w*\n.*?\n\1$", "", card.partition("\n---\n")[2], flags=re.M)
    assert "<script" not in outside.replace(MARK, "")
    yaml.safe_load(card.split("---\n")[1])


def test_pictures_and_tables_of_every_task(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_models(tmp_path)
    for task in ("translation", "caption", "video"):
        (tmp_path / task / "checkpoints").mkdir(parents=True)
        shutil.move(f"{task}.ckpt", f"{task}/checkpoints/last.ckpt")
    folder = leave_scores(Path("translation"), step=0)
    (folder / "translations.tsv").write_text(
        "id\tsource\treference\thypothesis\tchrf\n1\tein hund\ta dog\ta <b>\t3\n"
    )
    assert main(["report", "translation", "--out", "t.html"]) == 0
    assert len(page_of("t.html").pictures()) == 1
    assert "a <b>" in "".join(page_of("t.html").text)
    assert main(["report", "caption", "--example", "a.png", "--out", "c.html"]) == 0
    assert len(page_of("c.html").pictures()) == 1
    folder = leave_scores(Path("video"), step=0)
    (folder / "frames").mkdir()
    rows = "0,x,0.5,x\n1,z,0.25,\n"
    (folder / "frames/a.csv").write_text(f"frame,label,probability,truth\n{rows}")
    (folder / "frames/b.csv").write_text("frame,label,probability,truth\n0,nothing,0.5,x\n")
    (folder / "confusion.tsv").write_text("truth\tpredicted x\tpredicted y\nx\t3\t1\ny\t0\tz\n")
    capsys.readouterr()
    assert main(["report", "video", "--out", "v.html"]) == 0
    assert len(page_of("v.html").pictures()) == 1
    assert "'b.csv' is not what a test of this model leaves" in capsys.readouterr().out
    # one that leads elsewhere is not read
    (folder / "frames/a.csv").unlink()
    (folder / "frames/a.csv").symlink_to(tmp_path / "a.png")
    assert main(["report", "video", "--out", "v.html"]) == 0
    assert "leads out of the run's folder" in capsys.readouterr().out


def test_a_run_with_nothing_but_a_table_has_a_report(here, capsys):
    run = Path("runs/x/y")
    run.mkdir(parents=True)
    (run / "metrics.csv").write_text("step,val/loss\n1,2\n2,1\n")
    (run / "config.yaml").write_text("a: &a [*a, {b: *a}]")
    assert main(["report", str(run)]) == 0
    page = page_of()
    assert len(page.pictures()) == 1
    assert "The model: There is no checkpoint in the folder" in "".join(page.text)


def test_a_configuration_that_lies_elsewhere_is_not_shown(here, capsys):
    Path("secret.yaml").write_text("password: sesame\n")
    (RUN / "config.yaml").unlink()
    (RUN / "config.yaml").symlink_to(here / "secret.yaml")
    assert main(["report", str(RUN)]) == 0
    assert "config.yaml' leads out of the run's folder" in capsys.readouterr().out
    assert "sesame" not in Path("report.html").read_text()


def test_a_configuration_that_repeats_itself_is_bounded(here, capsys):
    lines = ["a0: &a0 {x: 1, y: 2}"]
    lines += [f"a{n}: &a{n} {{p: *a{n - 1}, q: *a{n - 1}, r: *a{n - 1}}}" for n in range(1, 19)]
    (RUN / "config.yaml").write_text("\n".join(lines))
    assert main(["report", str(RUN), *QUICK]) == 0
    page_of()
    (RUN / "config.yaml").write_text("# " + "x" * (1 << 20))
    (RUN / "results/last").mkdir(parents=True)
    (RUN / "results/last/scores.json").write_text('{"scores": {"a": 1e999, "b": "x", "c": []}}')
    assert main(["report", str(RUN), *QUICK]) == 0
    assert "no more than 1,048,576 are shown" in capsys.readouterr().out
    (RUN / "results/last/scores.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="is no JSON: it is nested too deeply"):
        tested.tested_of(RUN, None)


def test_a_model_card_is_what_hugging_face_reads(here, capsys):
    from huggingface_hub import ModelCard

    leave_scores(RUN)
    assert main(["report", str(RUN), "--card", *QUICK]) == 0
    assert capsys.readouterr().out.splitlines()[1] == str(RUN / "README.md")
    text = (RUN / "README.md").read_text()
    card = ModelCard(text, ignore_metadata_errors=False)
    assert card.data.library_name == "unrolled"
    assert card.data.pipeline_tag == "text-generation"
    assert "lstm" in card.data.tags
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("loss", 1.25)
    assert result.dataset_name == "TextData"
    assert main(["report", str(RUN), "--card", *QUICK]) == 0  # our own is made anew
    (RUN / "README.md").write_text(text.replace(MARK, ""))
    Path("report.html").unlink()
    assert main(["report", str(RUN), "--card", *QUICK]) == 2
    assert "move it first" in capsys.readouterr().err
    assert not Path("report.html").exists()
    assert (RUN / "README.md").read_text() == text.replace(MARK, "")


def test_markdown_of_any_text():
    assert escaped("a|b\n<c> `d` _e_") == r"a\|b &lt;c\> \`d\` \_e\_"
    (block,) = fenced("```\n# x\n````")
    assert block == "`````\n```\n# x\n````\n`````\n"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ([], "Missing: run"),
        (["runs/none"], "There is no"),
        (["text.txt"], "lies in no run's folder"),
        (["."], "is no run's folder"),
        ([str(RUN), "--out", "a.pdf"], "ends with .html"),
        ([str(RUN), "--out", "nowhere/a.html"], "there is no folder 'nowhere'"),
        ([str(RUN), "--outs", "a.html"], "Did you mean '--out'"),
    ],
)
def test_mistakes_are_a_line(here, capsys, words, answer):
    assert main(["report", *words]) in (2, 3)
    error = capsys.readouterr().err
    assert answer in error
    assert len(error.splitlines()) <= 3
    assert not list(here.glob("*.html"))


def test_an_example_that_no_model_takes_is_told(here, capsys):
    assert main(["report", str(RUN), "--example", "ZZZ"]) == 0
    assert "A picture (Surprise)" in capsys.readouterr().out
    assert len(page_of().pictures()) == 2  # curves and memory
