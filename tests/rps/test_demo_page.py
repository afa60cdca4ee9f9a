"""`rps demo` in a browser: headless Chromium, if there is one."""

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from tests.browser import CHROMIUM, Browser

pytest.importorskip("gradio", minversion="6")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium")]


@pytest.fixture(scope="module")
def page():
    """The address of the page, and its process."""
    command = [sys.executable, "-m", "rps.cli", "demo", "--port", "0", "--max_file", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield re.search(r"http://\S+", process.stdout.readline())[0], process
    process.kill()
    process.wait()


SLIDER = "document.querySelector('#t0 input[type=range]')"
LEVELS = "document.querySelectorAll('#levels button img').length"
PLACE = "(r => [r.x, r.y, r.width, r.height])({}.getBoundingClientRect())"


def move(browser: Browser, level: int) -> None:
    """Drags the slider of t0 from where it is."""
    browser.run(f"{SLIDER}.scrollIntoView()")
    (x, y, w, h), now = browser.run(PLACE.format(SLIDER)), int(browser.run(f"{SLIDER}.value"))
    browser.drag(*((x + 8 + (w - 16) * part / 1000, y + h / 2) for part in (now, (now + level) / 2, level)))


def says(browser: Browser, text: str) -> None:
    browser.until(f"document.querySelector('#line').innerText.includes({text!r})")


def test_a_painted_picture_is_restored_level_by_level(page, tmp_path):
    """A white square that is painted over is lost; all else, which is smooth, is as it was."""
    colours = Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 5, 3), dtype=np.uint8))
    picture = np.array(colours.resize((60, 48), Image.Resampling.BICUBIC))
    picture[20:28, 26:34] = 255
    Image.fromarray(picture).save(tmp_path / "square.png")
    with Browser(tmp_path / "profile") as browser:
        browser.open(page[0])
        browser.until("document.querySelector('#picture canvas')")
        for _ in range(10):  # until the page listens
            if not browser.run("document.body.innerText.includes('Drop a picture here')"):
                break
            browser.choose_file("#picture input[type=file]", tmp_path / "square.png")
            browser.pause(2)
        x, y, w, h = browser.run(PLACE.format("document.querySelector('#picture canvas')"))
        browser.run("document.querySelector('#go').click()")
        says(browser, "nothing is painted")
        browser.drag(*((x + w / 2 + 4 * i, y + h / 2) for i in range(5)))
        browser.pause(1)
        browser.run("document.querySelector('#go').click()")
        seen = [browser.until(f"(n => n >= {n} && n)({LEVELS})") for n in (1, 2, 3, 4)]
        assert seen == [1, 2, 3, 4]  # one after the other, and not all at the end
        says(browser, "Shown: t0 = 300")
        browser.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "saved"))
        browser.run("document.querySelector('#download').click()")
        move(browser, 0)
        says(browser, "Shown: t0 = 0")
        assert browser.run(LEVELS) == 4  # it was there
        move(browser, 500)
        browser.until(f"{LEVELS} == 5")
        says(browser, f"Shown: t0 = {browser.run(SLIDER + '.value')}")
        move(browser, 900)
        browser.until("!document.querySelector('#line').innerText.includes('Shown')")  # it computes
        browser.run("document.querySelector('#stop').click()")
        says(browser, "Stopped; the levels that are there are kept.")
        assert browser.run(LEVELS) == 5
        requests = [url for url in browser.requests if not url.startswith(("data:", "blob:", page[0]))]
        assert not requests
        restored = np.asarray(Image.open(tmp_path / "saved" / "square_t0_300.png")).astype(int)
        assert restored.shape == picture.shape
        assert 0.01 < (np.abs(restored - picture).max(2) > 40).mean() < 0.1


def test_only_this_machine_and_small_files(page):
    address, process = page
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address.replace("127.0.0.1", "127.0.0.2"), timeout=5)
    form = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n%b\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    small, large = (
        urllib.request.Request(f"{address}gradio_api/upload", form % bytes(size), headers) for size in (1000, 2_000_000)
    )
    assert urllib.request.urlopen(small).status == 200
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(large)
    process.send_signal(signal.SIGINT)
    assert "pictures of the page were removed" in process.communicate(timeout=20)[1] and process.returncode == 0
