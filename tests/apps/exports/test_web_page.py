"""Pages of exported models in a real browser, opened from their files: numbers as torch's."""

from __future__ import annotations

import csv
import re
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
import unrolled
from app_models import save
from chromium import colours, narrow
from unrolled.core import GRU, LSTM, FrameEncoder, IndRNN, SmallCNN, Stacked
from unrolled.data.vocabulary import ByteVocabulary, WordVocabulary
from unrolled.tasks import CharLM
from unrolled.tasks.video.frames import as_input
from video_models import PICTURES, save_model
from web_page import Page, exported_page, opened

pytestmark = pytest.mark.slow

WORDS = "a cat sat on the mat".split()
VOCABULARIES = {
    "characters": {"kind": "characters", "symbols": "abc é\n漢"},
    "bytes": ByteVocabulary().to_spec(),
    "words": WordVocabulary(WORDS).to_spec(),
}
TEXTS = {
    "characters": "abc é\n漢ab  cab" * 20,
    "bytes": "héllo 漢字 \t😀 wörld\n" * 10,
    "words": "the cat sat on\na mat the dog sat \n" * 16,
}
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
LETTERS = """return [...document.querySelectorAll("#letters .at")].map(
  one => [one.textContent, Number(one.dataset.probability), one.classList.contains("written")])"""
NAMES = """return [...document.querySelectorAll("button, input, select, textarea, [tabindex]")]
  .filter(one => one.checkVisibility() && !one.disabled).map(one => one.id)"""


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A language model of each vocabulary, which does not come to an end."""
    made = tmp_path_factory.mktemp("models")
    cores = {
        "characters": partial(Stacked, core=partial(LSTM, hidden_size=12), num_layers=2),
        "bytes": partial(GRU, hidden_size=16),
        "words": partial(GRU, hidden_size=8),
    }
    for kind, spec in VOCABULARIES.items():
        torch.manual_seed(1)
        task = CharLM({"vocabulary": spec}, cores[kind])
        with torch.no_grad():
            task.model.head.bias[task.model.vocabulary.END] = -100
        save(task, made / f"{kind}.ckpt")
    return made


def read(page: Page, text: str) -> list[tuple[str, float, bool]]:
    page.set("text", text)
    page.idle()
    return page.script(LETTERS)


def quietly(page: Page) -> None:
    """Fast, without writing at each key."""
    page.at("live").click()
    page.set("pace", "0")


@pytest.mark.parametrize("kind", VOCABULARIES)
def test_a_text_has_the_probabilities_and_goes_on_as_in_torch(models, kind):
    model = unrolled.load(models / f"{kind}.ckpt")
    text = TEXTS[kind]
    known = text
    if kind == "words":  # unknown words are read as such, but no prompt may have them
        known = text.replace("dog ", "")
    expected = model.score([text])[0] if kind != "words" else next(model.score_stream([text]))
    with opened(exported_page(models / f"{kind}.ckpt")) as page:
        quietly(page)
        found = read(page, text)
        values = np.exp(np.array(expected.log_probabilities))
        np.testing.assert_allclose([one[1] for one in found], values, atol=1e-4, rtol=1e-3)
        if kind != "words":
            assert "".join(one[0] for one in found) == text
        # greedily, over another text than before and over a change in its middle
        page.set("temperature", "0")
        page.set("length", "120")
        for prompt in (known, known[:21] + known[len(known) // 2 :]):
            page.set("text", prompt)
            page.idle()
            page.chord(page.keys.CONTROL, page.keys.ENTER)
            page.until(lambda: [one for one in page.script(LETTERS) if one[2]])
            page.idle()
            written = "".join(one[0] for one in page.script(LETTERS) if one[2])
            says = model.generate(prompt, length=120, temperature=0)
            said = says.decode("utf-8", "replace") if isinstance(says, bytes) else says
            # the browser waits for the rest of a character that ends amid its bytes
            assert written == (said if len(written) == len(said) else said[:-1])
            assert len(written) > 20


def test_writing_by_keyboard_stops_repeats_and_tells(models):
    with opened(exported_page(models / "characters.ckpt")) as page:
        page.tab_to("text")
        page.press(*"abc")
        page.until(lambda: len(page.script(LETTERS)) > 20)  # it writes on by itself
        page.press(page.keys.ESCAPE)
        page.idle()
        count = len(page.script(LETTERS))
        assert 3 < count < 303
        assert page.at("count").text == f"3 characters read, {bits(page):.2f} bits each; " + (
            f"{count - 3} characters written"
        )
        assert not page.at("stop").is_enabled()
        # the same seed, the same text; another one another
        quietly(page)
        page.set("length", "60")
        texts = []
        for seed in ("7", "8", "7"):
            page.tab_to("seed")
            page.chord(page.keys.CONTROL, "a")
            page.press(seed)
            page.tab_to("write")
            page.press(page.keys.ENTER)
            page.idle()
            texts.append("".join(one[0] for one in page.script(LETTERS)))
        assert texts[0] == texts[2] != texts[1]
        assert len(texts[0]) == 63
        # one walks over what was read
        page.tab_to("letters")
        page.press(page.keys.ARROW_RIGHT, page.keys.ARROW_RIGHT)
        assert re.fullmatch(r"b had [\d.]+ %, [\d.]+ bits\..*", page.at("said").text.split("\n")[0])
        assert len(page.at("said").find_elements("css selector", ".bar")) == 5
        page.press(page.keys.END)
        assert page.script("return document.querySelector('.here') === letters.lastChild")
        # what it never saw is named, counted and left out; all text is shown as text
        read(page, "ab<b>xx</b>")
        assert page.at("note").text == (
            "The model never saw “<” (2 x), “>” (2 x), “x” (2 x), “/” (1 x): left out."
        )
        assert [one[0] for one in page.script(LETTERS)] == list("abbb")
        read(page, "ab")
        assert not page.at("note").is_displayed()
        accessible(page)


def bits(page: Page) -> float:
    values = [one[1] for one in page.script(LETTERS) if not one[2]]
    return float(-np.log2(values).mean())


def accessible(page: Page) -> None:
    """Whatever takes the focus has a name; light and dark differ; a telephone is wide enough."""
    found = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    focusable = [
        one
        for one in found
        if one["role"]["value"] != "RootWebArea"
        for fact in one.get("properties", [])
        if fact["name"] == "focusable" and fact["value"]["value"]
    ]
    assert len(focusable) >= len(page.script(NAMES)) > 2
    assert [one["role"] for one in focusable if not one["name"]["value"]] == []
    grounds = set()
    for scheme in ("light", "dark"):
        colours(page.browser, scheme)
        grounds.add(page.script("return getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    assert narrow(page.browser) == 360


@pytest.fixture(scope="module")
def labelling(tmp_path_factory) -> Path:
    """A model of pictures of 8 pixels, as a checkpoint."""
    made = tmp_path_factory.mktemp("video")
    encoder = partial(FrameEncoder, backbone=partial(SmallCNN, channels=[4, 8]))
    core = partial(IndRNN, hidden_size=9)  # says several things
    save_model(made / "pictures.ckpt", PICTURES, core, encoder=encoder)
    return made / "pictures.ckpt"


def saved(page: Page, folder: Path) -> list[dict[str, str]]:
    """Save the labels, and return the rows."""
    there = {"behavior": "allow", "downloadPath": str(folder)}
    page.browser.execute_cdp_cmd("Browser.setDownloadBehavior", there)
    page.at("save").click()
    file = folder / "labels.csv"
    page.until(file.exists)
    with file.open(encoding="utf-8", newline="") as lines:
        found = list(csv.DictReader(lines))
    file.unlink()
    return found


def test_a_camera_is_labelled_as_torch_streams(labelling, tmp_path):
    """What the camera shows is replaced by known frames, where the page looks at its pixels."""
    plain = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    frames = np.stack([np.full((8, 8, 3), one, np.uint8) for one in plain]).repeat(5, 0)
    model = unrolled.load(labelling)
    stream = model.stream()
    expected = [stream(frame) for frame in frames]
    with opened(exported_page(labelling), *CAMERA) as page:
        alpha = np.full((*frames.shape[:3], 1), 255, np.uint8)
        pixels = np.concatenate((frames, alpha), 3).reshape(len(frames), -1).tolist()
        page.script(
            """const known = arguments[0]; let number = 0;
            for (const [name, value] of [["videoWidth", 8], ["videoHeight", 8]])
              Object.defineProperty(HTMLVideoElement.prototype, name, {get: () => value});
            CanvasRenderingContext2D.prototype.getImageData = () =>
              ({data: Uint8ClampedArray.from(known[Math.min(number++, known.length - 1)])});""",
            pixels,
        )
        page.tab_to("camera")
        page.press(page.keys.ENTER)
        page.until(lambda: len(re.findall(r"frame (\d{2,})", page.at("sure").text)))
        page.until(lambda: int(page.at("sure").text.split()[-1]) >= len(frames))
        page.press(page.keys.ESCAPE)
        page.until(lambda: not page.at("stop").is_enabled())
        rows = saved(page, tmp_path)
        assert len(rows) >= len(frames)
        for row, one in zip(rows, expected, strict=False):
            assert row["label"] == one.name
            assert float(row["probability"]) == pytest.approx(one.probability, abs=1e-4)
        assert len({row["label"] for row in rows}) > 1
        # segments are those of the labels
        segments = [(name, len(list(some))) for name, some in groupby(r["label"] for r in rows)]
        page.tab_to("line")
        page.press(page.keys.HOME)
        name, count = segments[0]
        said = page.at("said").text
        assert said.startswith(name)
        assert f"frames 0 to {count - 1};" in said
        assert page.script("return document.querySelectorAll('#line .at').length") == len(segments)
        assert page.script("return document.querySelector('#video').srcObject") is None
        page.at("forget").click()
        assert page.at("name").text == "-"
        accessible(page)


def test_a_video_file_is_labelled_and_a_wrong_one_told(labelling, tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):  # grey, brighter from frame to frame
            picture = np.full((48, 64, 3), 8 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    (tmp_path / "text.mp4").write_text("no video")
    expected = list(unrolled.load(labelling).label(pictures(tmp_path / "clip.mp4")))
    with opened(exported_page(labelling)) as page:
        page.at("file").send_keys(str(tmp_path / "clip.mp4"))
        page.until(lambda: "frames," in page.at("note").text)
        rows = saved(page, tmp_path)
        read = re.fullmatch(
            r"(\d+) frames, \d+ segments?(?:\.|; (\d+) frames were not read.*)",
            page.at("note").text,
        )
        assert read is not None
        assert int(read[1]) == len(rows)
        assert 28 <= len(rows) + int(read[2] or 0) <= 30
        for row in rows:
            one = expected[round(float(row["time"]) * 10)]
            if not read[2]:  # the decoders round colours in different ways
                assert float(row["probability"]) == pytest.approx(one.probability, abs=0.03)
        page.at("file").send_keys(str(tmp_path / "text.mp4"))
        page.until(lambda: "can't be played" in page.at("note").text)
        assert not page.at("stop").is_enabled()


def pictures(path: Path) -> list[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_pictures_are_scaled_as_torch_scales_them(labelling):
    draw = np.random.default_rng(0)
    with opened(exported_page(labelling)) as page:
        for height, width, side in ((48, 64, 8), (7, 5, 16), (31, 100, 31), (12, 12, 12)):
            frame = draw.integers(0, 256, (height, width, 3), np.uint8)
            alpha = np.full((height, width, 1), 255, np.uint8)
            pixels = np.concatenate((frame, alpha), 2).flatten().tolist()
            # the page's own function, whose script nobody can reach from outside: by its text
            source = (Path(unrolled.__file__).parent / "apps/exports/web/pictures.js").read_text()
            call = f"{source}\nreturn Array.from(squared(...arguments));"
            found = torch.tensor(page.script(call, pixels, width, height, side))
            spec = {**PICTURES, "image_size": side}
            expected = as_input(frame, spec, torch.float32).flatten().int()
            assert (found - expected).abs().max() <= 1
