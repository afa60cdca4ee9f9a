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


def test_a_painted_picture_is_restored_level_by_level(page, tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (48, 60, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    with Browser(tmp_path / "profile") as browser:
        browser.open(page[0])
        browser.until("document.querySelector('#picture canvas')")
        for _ in range(10):  # until the page listens
            if not browser.run("document.body.innerText.includes('Drop a picture here')"):
                break
            browser.choose_file("#picture input[type=file]", tmp_path / "picture.png")
            browser.pause(2)
        x, y, w, h = browser.run(
            "(r => [r.x, r.y, r.width, r.height])(document.querySelector('#picture canvas').getBoundingClientRect())"
        )
        browser.run("document.querySelector('#go').click()")
        browser.until("document.querySelector('#line').innerText.includes('nothing is painted')")
        browser.drag(*((x + w / 2 + 4 * i, y + h / 2) for i in range(5)))
        browser.pause(1)
        browser.run("document.querySelector('#go').click()")
        seen = [
            browser.until(f"(n => n >= {n} && n)(document.querySelectorAll('#levels button img').length)")
            for n in (1, 2, 3, 4)
        ]
        assert seen == [1, 2, 3, 4]  # one after the other, and not all at the end
        browser.until("document.querySelector('#line').innerText.includes('Shown: t0 = 300')")
        requests = [url for url in browser.requests if not url.startswith(("data:", "blob:", page[0]))]
        assert not requests
        address = browser.run("document.querySelector('#levels button:last-of-type img').src")
        with urllib.request.urlopen(address) as answer:
            (tmp_path / "t0_300.png").write_bytes(answer.read())
        restored = np.asarray(Image.open(tmp_path / "t0_300.png")).astype(int)
        assert restored.shape == picture.shape
        far = (np.abs(restored - picture).max(2) > 40).mean()
        assert 0.01 < far < 0.8  # what is painted is invented, and what is not is as it was


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
