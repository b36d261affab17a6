"""The live page in a real browser: all four tasks, by clicking and by keyboard, wrong files too.

One server answers all of it, as `unrolled demo` starts it, in a process whose sockets are noted.
"""

from __future__ import annotations

import importlib.util
import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from app_models import PICTURES, SOURCES
from chromium import addresses, chromium, colours, narrow
from demo_page import EVIL, Page, Server, inside, serving, tabbed_to

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("gradio"), reason="no gradio"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("demo")) as found:
        yield found


@pytest.fixture
def page(server) -> Iterator[Page]:
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with chromium("--window-size=1200,1200", *flags) as browser:
        browser.get(server.url)
        found = Page(browser, server)
        found.wait(".typed textarea")
        yield found
        # nothing was asked of any other machine, and nothing of the page went wrong
        asked = addresses(browser)
        assert asked
        local = ("data:", "blob:", "chrome", server.url)
        assert [one for one in asked if not one.startswith(local)] == []
        errors = [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]
        assert errors == []
        assert browser.title == "unrolled"


def typed(page: Page) -> str:
    """What of the text the model has read, without what it wrote."""
    letters = "[...document.querySelectorAll('.surprise .at:not(.written)')]"
    return page.browser.execute_script(f"return {letters}.map(one => one.firstChild.data).join('')")


def shown(page: Page, selector: str) -> str:
    return page.wait(f"{selector} .said").text


def test_text_comes_as_one_types(page):
    page.all(".typed textarea")[0].click()
    page.press(*"ab c")
    page.until(lambda: typed(page) == "ab c")
    page.until(lambda: len(page.all(".surprise .written")) == 120)
    bars = page.all(".following .bar")
    assert len(bars) == 5
    assert page.wait(".neuron p").text.startswith("Unit 0: hidden 0")
    page.hover(".surprise .at", 1)
    assert shown(page, ".surprise").startswith("b had ")
    # another neuron
    number = page.all(".unit input[type=number]")[0]
    number.send_keys(page.keys.CONTROL + "a")
    number.send_keys("3" + page.keys.TAB)
    page.said(".neuron p", "Unit 3: hidden 3")
    assert len(page.all(".neuron .letters > span")) == 124
    # the text is shown as text, whatever it is, and an unknown character is told
    page.all(".typed textarea")[0].send_keys(EVIL)
    assert "vocabulary lacks" in page.said(".messages .problem", "character")
    assert not page.all(".surprise .at")


def test_a_sentence_is_translated_and_its_words_show_what_they_looked_at(page):
    page.tab("Translation")
    page.all(".source textarea")[0].send_keys("\n".join(SOURCES[:2]))
    page.all("button.translate")[0].click()
    page.until(lambda: len(page.all(".pair")) == 2)
    page.hover(".target .at")
    said = shown(page, ".target")
    assert "looked most at" in said
    assert "ein hund" in said.replace("␣", " ").replace("  ", " ")
    page.hover(".origin .at")
    assert "was looked at most by" in shown(page, ".origin")
    page.all(".pair summary")[0].click()
    rows = page.all(".pair tbody tr")
    shares = [int(cell.text or 0) for cell in rows[0].find_elements("css selector", "td")]
    assert 90 <= sum(shares) <= 110
    page.all(".source textarea")[0].send_keys(page.keys.CONTROL + "a", page.keys.DELETE)
    page.all("button.translate")[0].click()
    assert "write a sentence" in page.said(".translation .problem", "nothing")
    page.all(".source textarea")[0].send_keys("a\n" * 9)
    page.all("button.translate")[0].click()
    assert page.said(".translation .problem", "9 sentences")


def test_a_photo_is_captioned_and_wrong_ones_are_told(page):
    page.tab("Captions")
    page.give(".photo", PICTURES[0])
    page.wait(".caption .at")
    whole = page.all(".looked > img")[0].get_attribute("src")
    assert whole.startswith("data:image/jpeg")
    page.hover(".caption .at")
    looked = page.wait(".caption .said img")
    assert looked.get_attribute("src") != whole
    assert "looked most" in looked.get_attribute("alt")
    for file, said in [
        ("text.png", "'text.png' is no image"),
        ("bad.png", "'bad.png'"),
        ("empty.png", "'empty.png' is empty"),
        ("large.png", "64,000,000"),
        ("clip.mp4", "is no image"),
    ]:
        page.give(".photo", file)
        found = page.said(".caption", said)
        assert str(page.server.folder) not in found
        assert "/" not in found.replace("kinds/", "")
    page.give(".photo", PICTURES[1])  # and it goes on
    page.wait(".caption .at")


def test_videos_features_and_a_camera_are_labelled(page):
    page.tab("Video: pictures")
    page.give(".video", "clip.mp4")
    assert page.said(".labels .done", "30 frames")
    assert page.all(".labels .now img")[0].get_attribute("naturalWidth") == "8"
    page.hover(".labels .at")
    assert "frames 0 to" in shown(page, ".labels")
    page.give(".video", "text.mp4")
    page.said(".labels .problem", "'text.mp4'")
    page.all(".camera-box button")[0].click()
    page.wait(".camera button").click()  # let the page see it
    page.wait(".camera .capture-button").click()
    page.wait(".live .label")
    page.until(lambda: int(page.all(".live .now")[0].text.split()[-1]) > 2)
    page.wait(".camera .capture-button").click()  # the camera stops
    page.tab("Video: video")
    page.give(".video", "a.npy")
    assert page.said(".labels .done", "20 frames")
    assert not page.all(".labels .now img")
    page.give(".video", "other.npy")
    page.said(".labels .problem", "(3, T)")


def test_all_of_it_by_keyboard(page):
    keys = page.keys
    page.press("a", "b")  # the text has the focus from the beginning
    page.until(lambda: len(page.all(".surprise .written")) == 120)
    page.until(lambda: tabbed_to(page, "letters"), 90)
    page.press(keys.ARROW_RIGHT, keys.ARROW_RIGHT)
    assert shown(page, ".surprise").startswith("b had ")
    page.press(keys.END)
    assert page.focus().get_attribute("class") == "at written"
    page.browser.refresh()
    page.wait(".typed textarea")
    page.until(lambda: tabbed_to(page, "", "tab", back=True) and page.focus().text == "Translation")
    page.press(keys.ENTER)
    page.until(lambda: page.all(".source textarea"))
    page.until(lambda: tabbed_to(page, "", tag="textarea"))
    page.press(*SOURCES[0])
    page.actions().key_down(keys.SHIFT).send_keys(keys.ENTER).key_up(keys.SHIFT).perform()
    page.wait(".target .at")
    page.until(lambda: tabbed_to(page, "target"))
    page.press(keys.ARROW_RIGHT)
    assert "looked most at" in shown(page, ".target")
    for name, where in (("Captions", "photo"), ("Video: pictures", "video")):
        page.browser.refresh()
        page.wait(".typed textarea")
        page.until(
            lambda name=name: tabbed_to(page, "", "tab", back=True) and page.focus().text == name
        )
        page.press(keys.ENTER)
        page.wait(f".{where}")
        page.browser.execute_cdp_cmd("Page.enable", {})
        page.browser.execute_cdp_cmd("Page.setInterceptFileChooserDialog", {"enabled": True})
        page.until(lambda where=where: inside(page, where))
        page.press(keys.ENTER)
        opened = [one["message"] for one in page.browser.get_log("performance")]
        assert any("Page.fileChooserOpened" in one for one in opened)
        page.browser.execute_cdp_cmd("Page.setInterceptFileChooserDialog", {"enabled": False})
        page.give(f".{where}", {"photo": PICTURES[0], "video": "clip.mp4"}[where])
        page.wait(".walk .at")
        page.until(lambda: tabbed_to(page, "walk"))
        page.press(keys.ARROW_RIGHT)
        assert page.wait(".said").is_displayed()


def test_light_dark_and_narrow(page):
    grounds = []
    for scheme in ("light", "dark"):
        colours(page.browser, scheme)
        page.browser.refresh()
        page.wait(".typed textarea").send_keys("abc")
        page.until(lambda: len(page.all(".surprise .written")) == 120)
        script = "return getComputedStyle(document.body).backgroundColor"
        grounds.append(page.browser.execute_script(script))
    assert len(set(grounds)) == 2
    assert narrow(page.browser) == 360


def test_the_first_character_comes_soon(page, record_property):
    """How long it takes from the key to the first character that the model writes; printed."""
    page.browser.execute_script(CLOCK)
    page.all(".typed textarea")[0].click()
    for number, key in enumerate("abc ab c"):
        page.press(key)
        page.until(lambda count=number + 1: len(page.browser.execute_script(TIMES)) == count)
    times = sorted(page.browser.execute_script(TIMES))
    print(f"first character after {times[len(times) // 2]:.0f} ms in the median, {times} ms")


TIMES = "return window.times"
CLOCK = """
window.times = []; let pressed = null;
document.addEventListener("keydown", () => { pressed = performance.now(); }, true);
new MutationObserver(() => {
  const typed = [...document.querySelectorAll(".surprise .at:not(.written)")];
  const text = document.querySelector(".typed textarea").value;
  if (pressed === null || typed.map(one => one.firstChild.data).join("") !== text) return;
  if (!document.querySelector(".surprise .written")) return;
  window.times.push(performance.now() - pressed); pressed = null;
}).observe(document.body, {childList: true, subtree: true, characterData: true});
"""


def test_what_is_no_browser_is_bounded_too(server):
    def post(path: str, content: bytes) -> int:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(server.url + path, content, headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:  # it hung up, with more to come
            return 413

    assert post("gradio_api/queue/join", b" " * (5 << 20)) == 413
    for file in ("notes.txt", "lm.ckpt"):
        place = server.folder / file
        with pytest.raises(urllib.error.HTTPError, match=r"403|404"):
            urllib.request.urlopen(f"{server.url}gradio_api/file={place}")
    # a file of this machine as if it had been uploaded
    config = json.loads(urllib.request.urlopen(f"{server.url}config").read())
    photo = next(
        one for one in config["components"] if "photo" in one["props"].get("elem_classes", [])
    )
    event = next(one for one in config["dependencies"] if photo["id"] in one["inputs"])
    data = {"path": str(server.folder / PICTURES[0]), "meta": {"_type": "gradio.FileData"}}
    session = {"fn_index": event["id"], "session_hash": "stranger", "data": [data]}
    assert post("gradio_api/queue/join", json.dumps(session).encode()) == 200
    stream = urllib.request.urlopen(f"{server.url}gradio_api/queue/data?session_hash=stranger")
    with stream:
        answer = "".join(line.decode() for line in stream)
    assert '"success":false' in answer.replace(" ", "")
    assert (server.folder / PICTURES[0]).exists()


def test_no_socket_leaves_this_machine(server):
    """Last in this file: of all that was done before."""
    urllib.request.urlopen(server.url).read()
    notes = server.notes()
    assert notes  # Gradio asks its own server as it starts
    assert [one for one in notes if "127.0.0.1" not in one and "localhost" not in one] == []
