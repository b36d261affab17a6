"""Where text comes from, and what is said when it can't."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import threading

import pytest
from unrolled.data import TextData
from unrolled.data.cache import cache_folder
from unrolled.data.sources import path_source
from unrolled.errors import DataError, SetupError, UnrolledError, UsageError


def read(*arguments, **settings) -> list[str]:
    """Return the documents that text data reads."""
    data = TextData(*arguments, **settings)
    ids = data.tokens[:].tolist()
    assert ids[0] == 0
    documents: list[list[int]] = []
    for i in ids:
        if i == 0:
            documents.append([])
        else:
            documents[-1].append(i)
    return [data.vocabulary.decode(document) for document in documents]


def refuse(kind: type[UnrolledError], *arguments, **settings) -> str:
    """Return the message with which text data is refused."""
    with pytest.raises(kind) as caught:
        read(*arguments, **settings)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    return message


def test_builtin_text(caplog, monkeypatch):
    monkeypatch.chdir("/")
    caplog.set_level("INFO")
    data = TextData()
    assert len(data.tokens) > 5_000_000
    first = next(iter(data.corpus.source.documents()))
    source = b"".join(first.blocks()).decode()
    assert data.tokens[: len(source) + 2].tolist() == [0, *data.vocabulary.encode(source), 0]
    assert "SHA-256 " + data.corpus.survey()["sha256"] in caplog.text
    names = [document.name for document in data.corpus.source.documents()]
    assert not [
        name for name in names if "/test/" in name or "/tests/" in name or "site-packages" in name
    ]
    assert names == sorted(names)


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)]
)
def test_files(tmp_path, suffix, pack):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(pack("some text ü".encode()))
    assert read(str(path)) == read(str(tmp_path)) == ["some text ü"]


def test_folders(tmp_path):
    for name in ("b.txt", "a.txt", ".hidden.txt", ".git/c.txt", "sub/d.txt", "e.md", "f.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert read(str(tmp_path)) == ["a.txt", "b.txt", "sub/d.txt"]
    assert read(str(tmp_path), pattern="*.md, *.py") == ["e.md", "f.py"]
    assert read(str(tmp_path), pattern="*") == ["a.txt", "b.txt", "e.md", "f.py", "sub/d.txt"]
    message = refuse(DataError, str(tmp_path), pattern="*.rst")
    assert f"No file in '{tmp_path}' matches '*.rst': its 5 files have .md, .py, .txt." in message
    assert "--data.pattern" in message
    (tmp_path / "none").mkdir()
    assert "it is empty" in refuse(DataError, str(tmp_path / "none"))


def test_what_a_folder_has_besides_is_counted_and_named(tmp_path):
    for name in ("a.txt", "B.TXT", "Brief.Txt.GZ", "notes.md", "sub/image.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(gzip.compress(b"z") if name.endswith("GZ") else name.encode())
    assert read(str(tmp_path)) == ["B.TXT", "z", "a.txt"]  # in any capitals, on every system
    told = path_source(str(tmp_path), "*.txt", tmp_path).told
    assert told.startswith("2 of 5 files don't match '*.txt' and are left out")
    assert told.endswith("notes.md, sub/image.jpg")
    assert not path_source(str(tmp_path), "*", tmp_path).told


def test_a_path_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("abc")
    assert read("~/a.txt") == ["abc"]


def test_missing_paths(tmp_path):
    (tmp_path / "input.txt").write_text("abc")
    assert refuse(DataError, str(tmp_path / "imput.txt")).endswith(
        "does not exist. Did you mean 'input.txt'?"
    )
    (tmp_path / "folder").mkdir()
    message = refuse(DataError, str(tmp_path / "foldr" / "input.txt"))
    assert f"({tmp_path} has no 'foldr'). Did you mean 'folder'?" in message
    message = refuse(DataError, str(tmp_path / "input.txt" / "more"))
    assert "does not exist" in message


@pytest.mark.parametrize("units", ["characters", "bytes"])
def test_empty_files(tmp_path, units):
    path = tmp_path / "empty.txt"
    path.write_bytes(b"")
    assert (
        refuse(DataError, str(path), units=units)
        == f"{path} is empty: it holds no {units} to train on."
    )


@pytest.mark.parametrize("before", [0, 10, (1 << 20) - 1, 1 << 20, 3_000_001])
def test_not_utf8(tmp_path, before):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"x" * before + "é and more".encode("latin-1"))
    message = refuse(DataError, str(path))
    assert (
        f"{path} is not utf-8: byte 0xe9 at offset {before} (invalid continuation byte)." in message
    )
    assert "--data.encoding latin-1" in message
    assert "--data.units bytes" in message
    assert read(str(path), encoding="latin-1") == ["x" * before + "é and more"]
    assert len(read(str(path), units="bytes")[0]) == before + 10


def test_a_character_cut_by_the_end_of_the_file(tmp_path):
    path = tmp_path / "cut.txt"
    path.write_bytes("漢漢".encode()[:-1])
    assert "byte 0xe6 at offset 3 (unexpected end of data)" in refuse(DataError, str(path))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, encoding, monkeypatch):
    path = tmp_path / "wide.txt"
    path.write_bytes("wide ü".encode(encoding))
    for given in ("utf-8", encoding, "cp1252"):
        assert read(str(path), encoding=given) == ["wide ü"]
    (tmp_path / "a.txt").write_bytes("schön".encode("cp1252"))  # as folders are
    assert read(str(tmp_path), encoding="cp1252") == ["schön", "wide ü"]
    monkeypatch.setattr("unrolled.data.formats.packed.BLOCK_BYTES", 1)  # a pipe's pieces
    assert read(str(path), cache_dir=str(tmp_path / "cache")) == ["wide ü"]
    path.write_bytes("漢".encode(encoding)[:-1])
    assert f"is not {encoding}" in refuse(DataError, str(path))


@pytest.mark.parametrize("encoding", ["utf9", "rot13", "hex", "idna\0"])
def test_encodings_that_are_none(tmp_path, encoding):
    (tmp_path / "a.txt").write_text("abc")
    message = refuse(UsageError, str(tmp_path / "a.txt"), encoding=encoding)
    assert f"There is no text encoding '{encoding}'." in message


def test_the_damaged_file_of_a_folder_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("fine")
    (tmp_path / "b.txt").write_bytes(b"not\xff")
    assert f"'b.txt' in {tmp_path} is not utf-8: byte 0xff at offset 3" in refuse(
        DataError, str(tmp_path)
    )


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress)])
def test_damaged_archives(tmp_path, suffix, pack):
    path = tmp_path / f"a.txt{suffix}"
    whole = pack(os.urandom(5000))
    for content in (whole[:-100], b"no archive at all", whole[:3000] + b"damage" + whole[3006:]):
        path.write_bytes(content)
        assert f"{path} is damaged or no {suffix} file" in refuse(
            DataError, str(path), units="bytes"
        )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_no_permission(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abc")
    path.chmod(0)
    assert "can't be read: Permission denied" in refuse(DataError, str(path))
    (tmp_path / "text").mkdir(mode=0o500)
    assert "UNROLLED_CACHE" in refuse(SetupError, str(path), cache_dir=str(tmp_path))


def test_a_cache_that_is_no_folder(tmp_path):
    (tmp_path / "a.txt").write_text("abc")
    message = refuse(SetupError, str(tmp_path / "a.txt"), cache_dir=str(tmp_path / "a.txt"))
    assert "--data.cache_dir" in message


def test_a_full_disk(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("abc")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    message = refuse(SetupError, str(tmp_path / "a.txt"), cache_dir=str(tmp_path / "cache"))
    assert "No space left on device" in message
    left = [p.name for p in (tmp_path / "cache" / "text").iterdir() if p.suffix != ".lock"]
    assert left == []


def test_a_text_that_changes_meanwhile(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("abcabc")
    data = TextData(str(path))
    assert data.spec
    path.write_text("abc")
    with pytest.raises(DataError, match="changed while it was read"):
        _ = data.tokens


class Input:
    """Stands for sys.stdin."""

    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", Input(b"from a pipe"))
    monkeypatch.delenv("UNROLLED_STDIN", raising=False)
    assert read("-") == ["from a pipe"]
    spooled = os.environ["UNROLLED_STDIN"]
    monkeypatch.setenv("WORLD_SIZE", "2")  # a process that Lightning started
    assert read("-") == ["from a pipe"]
    monkeypatch.delenv("UNROLLED_STDIN")
    message = refuse(UsageError, "-")  # a process that torchrun started
    assert "Standard input can be read by one process only" in message
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr("sys.stdin", Input(b"from a pipe"))
    read("-")
    assert os.environ["UNROLLED_STDIN"] == spooled
    monkeypatch.delenv("UNROLLED_STDIN")
    monkeypatch.setattr("sys.stdin", Input(b""))
    assert "standard input is empty" in refuse(DataError, "-")
    monkeypatch.delenv("UNROLLED_STDIN")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(b"through a pipe"))
    writer.start()
    assert read(str(pipe)) == ["through a pipe"]
    writer.join()


def test_several_processes_encode_once(tmp_path):
    (tmp_path / "a.txt").write_text("abc" * 100_000)
    code = (
        "import sys\n"
        "from unrolled.data.text.corpus import Corpus\n"
        "from unrolled.data.cache import cache_folder\n"
        "from unrolled.data.sources import path_source\n"
        "cache = cache_folder(sys.argv[2])\n"
        "source = path_source(sys.argv[1], '*', cache)\n"
        "corpus = Corpus(source, units='characters', encoding='utf-8', cache=cache)\n"
        "tokens = corpus.tokens(corpus.vocabulary())\n"
        "print(tokens.path, len(tokens), 'lightning' in sys.modules, 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.txt"), str(tmp_path / "cache")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = {process.communicate()[0] for process in running}
    assert len(outputs) == 1
    assert outputs.pop().split()[1:] == ["300001", "False", "False"]
    assert {p.suffix for p in (tmp_path / "cache" / "text").iterdir()} == {
        ".npy",
        ".json",
        ".sums",
    }


ROWS = ["first", "", "zweite Zeile\nü", "third" * 100_000]


@pytest.fixture
def jsonl(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": row, "other": 1}) + "\n" for row in ROWS))
    return path


@pytest.fixture(autouse=True)
def _no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    import datasets

    datasets.disable_progress_bars()
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


# within datasets
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.mark.parametrize("streaming", [False, True])
def test_dataset_columns(jsonl, streaming):
    expected = [row for row in ROWS if row]
    assert read(dataset=str(jsonl), streaming=streaming) == expected
    assert read(dataset=str(jsonl), streaming=streaming, units="bytes") == expected


@pytest.mark.parametrize("streaming", [False, True])
def test_saved_datasets(tmp_path, streaming):
    import datasets

    rows = datasets.Dataset.from_dict({"line": ["a", "b"]})
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": rows, "more": rows}).save_to_disk(tmp_path / "dict")
    assert read(dataset=str(tmp_path / "one"), column="line", streaming=streaming) == ["a", "b"]
    settings = {"dataset": str(tmp_path / "dict"), "column": "line", "streaming": streaming}
    assert read(dataset_split="more", **settings) == ["a", "b"]
    assert "no split 'test', only train, more" in refuse(
        DataError, dataset_split="test", **settings
    )


def test_streaming_notices_a_changed_file(jsonl):
    read(dataset=str(jsonl), streaming=True)
    jsonl.write_text(json.dumps({"text": "new"}) + "\n")
    assert read(dataset=str(jsonl), streaming=True) == ["new"]


def test_datasets_that_can_not_be_used(jsonl, tmp_path):
    message = refuse(DataError, dataset=str(jsonl), column="texts")
    assert "has no column 'texts', only text, other" in message
    assert "Did you mean 'text'?" in message
    assert "row 0 (from 0): column 'other' holds int, not text" in refuse(
        DataError, dataset=str(jsonl), column="other"
    )
    (tmp_path / "a.doc").write_text("x")
    assert "ends in none of .json, " in refuse(DataError, dataset=str(tmp_path / "a.doc"))
    assert "can't be loaded" in refuse(DataError, dataset=str(tmp_path / "nowhere"))
    (tmp_path / "bad.jsonl").write_text("{nonsense")
    assert "can't be loaded" in refuse(DataError, dataset=str(tmp_path / "bad.jsonl"))


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UNROLLED_CACHE", str(tmp_path / "from_environment"))
    assert cache_folder() == tmp_path / "from_environment" / "text"
    assert cache_folder(str(tmp_path / "given")) == tmp_path / "given" / "text"
