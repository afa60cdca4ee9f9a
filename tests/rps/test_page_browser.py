"""report.html in a browser: headless Chromium, if there is one."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rps.report import report_runs
from tests.rps.test_page import write

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no chromium")]

IDS = ["a", "b & c", "c <img src=x onerror=stolen=1>"]
PHONE = """<!doctype html><body style="margin: 0"><pre id="found"></pre>
<script>onmessage = event => { document.getElementById("found").textContent = event.data; };</script>
<iframe src="{}" style="border: 0; position: absolute; top: 0; left: 0; width: 390px; height: 844px"></iframe>"""
"""A page of the size of a phone's; Chromium's own windows are at least 500 pixels wide."""
ACTIONS = """
const found = {};
const set = (id, value, ...events) => {
  byId(id).value = value;
  for (const name of events) byId(id).dispatchEvent(new Event(name));
};
const state = () => ({
  level: byId("level").textContent, value: byId("knob").getAttribute("aria-valuetext"),
  restored: document.querySelector(".card img[data-shows=restored]").getAttribute("src").slice(0, 30),
  chosen: [...document.querySelectorAll("tr.chosen th")].map(cell => cell.textContent),
  pressed: [...document.querySelectorAll(".point[aria-pressed=true]")].map(point => point.getAttribute("aria-label")),
  order: [...document.querySelectorAll(".card b")].map(b => b.textContent),
});
found.start = state();
set("knob", 2, "input", "change");
found.moved = state();
set("sort", 0, "change"); set("order", -1, "change");
found.sorted = state();
document.querySelectorAll(".point")[1].dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
found.key = state();
found.grey = [...document.querySelectorAll(".point.dominated")].map(point => point.getAttribute("aria-label"));
document.querySelectorAll(".card")[1].click();
set("zoom-level", 0, "input"); set("zoom-scale", 2, "input");
byId("zoom-panes").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
found.open = byId("zoom").open; found.title = byId("zoom-id").textContent; found.zoomed = state();
found.transform = getComputedStyle(byId("zoom-panes").querySelector("img")).transform;
found.left = byId("zoom").style.getPropertyValue("--x");
byId("next").click();
found.next = byId("zoom-id").textContent;
byId("close").click();
found.closed = !byId("zoom").open;
found.width = innerWidth;
found.wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
found.strange = document.querySelectorAll("img[onerror], b b").length;
set("knob", 1, "input");
document.body.replaceChildren(...document.querySelectorAll(".card .error"));  // for the screenshot
document.body.style.cssText = "margin: 0; display: grid; grid-template-columns: 100px; gap: 0";
parent.postMessage(JSON.stringify(found), "*");
"""


CHOOSE_B = """
document.querySelectorAll("input[name=run]")[1].click();
parent.postMessage(JSON.stringify({
  restored: document.querySelector(".card img[data-shows=restored]").getAttribute("src"),
  now: byId("now").textContent,
  chosen: document.querySelectorAll("section.figures")[1].querySelectorAll("tr.chosen").length,
  pressed: document.querySelector(".point[aria-pressed=true]").getAttribute("aria-label"),
  curves: document.querySelectorAll("polyline").length,
}), "*");
"""


def act(page: Path, script: str) -> Path:
    """Adds a script to the end of a page."""
    text = page.read_text(encoding="utf-8").replace("</main></body>", f"<script>{script}</script></main></body>")
    page.write_text(text, encoding="utf-8")
    return page


def found_in(dumped: str) -> dict:
    return json.loads(unescape(re.search(r'<pre id="found">(.*)</pre>', dumped, re.DOTALL)[1]))


def browse(page: Path, *options: str) -> str:
    """What the browser prints of a page on a phone, after its scripts."""
    phone = page.with_suffix(".phone.html")
    phone.write_text(PHONE.replace("{}", page.name))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=600,900",
        "--force-device-scale-factor=1", "--virtual-time-budget=5000", f"--user-data-dir={page.parent / 'profile'}",
        *options, phone.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page with links and one with pictures inside, both used by a script."""
    folder = tmp_path_factory.mktemp("browser")
    run = write(folder / "run", IDS)
    # Errors that are known: none of the first sample at level 50, all of the second.
    for name, value in (("a", None), ("b & c", 20)):
        clean = np.asarray(Image.open(run / "images" / "reference" / f"{name}.png")).astype(int)
        if value is not None:
            clean = clean.clip(0, 200)
            Image.fromarray(clean.astype(np.uint8)).save(run / "images" / "reference" / f"{name}.png")
        Image.fromarray((clean + (value or 0)).astype(np.uint8)).save(run / "images" / "50" / f"{name}.png")
    made = [report_runs([run], run / "report.html"), report_runs([run], folder / "one.html", standalone=True)]
    return [act(path, ACTIONS) for path in made]


@pytest.mark.parametrize("standalone", [False, True])
def test_the_page_can_be_used(pages, standalone):
    found = found_in(browse(pages[standalone], "--dump-dom"))
    picture = "data:image/png;base64," if standalone else "images/{}/"
    for step, level in (("start", "0"), ("moved", "100"), ("key", "50"), ("zoomed", "0")):
        state = found[step]
        assert (state["level"], state["value"], state["chosen"]) == (level, f"t0 = {level}", [level]), step
        assert state["restored"].startswith(picture.format(level)), step
        assert len(state["pressed"]) == 1 and state["pressed"][0].startswith(f"t0 = {level}: RMSE "), step
    assert found["start"]["order"] == found["moved"]["order"] == sorted(IDS)
    data = json.loads(pages[0].read_text().split('id="data">')[1].split("</script>")[0])
    worst = sorted(data["samples"], key=lambda sample: -sample["values"][0][0][2])
    assert found["sorted"]["order"] == [sample["id"] for sample in worst] != sorted(IDS)
    assert len(found["grey"]) == 2 and all("dominated by t0 = 0" in name for name in found["grey"])
    assert found["open"] and found["closed"]
    assert (found["title"], found["next"]) == (worst[1]["id"], worst[2]["id"])
    assert found["transform"].startswith("matrix(2, 0, 0, 2,") and found["left"] == "60%"
    assert found["width"] == 390 and not found["wide"] and found["strange"] == 0


def test_error_maps_show_four_times_the_difference(pages):
    """At level 50, of pictures that are the clean ones, and of those plus 20 grey levels."""
    shot = pages[1].parent / "shot.png"
    browse(pages[1], f"--screenshot={shot}")
    picture = np.asarray(Image.open(shot).convert("L")).astype(int)
    data = json.loads(pages[1].read_text().split('id="data">')[1].split("</script>")[0])
    order = [sample["id"] for sample in sorted(data["samples"], key=lambda sample: -sample["values"][0][0][2])]
    for name, level in (("a", 0), ("b & c", 80)):
        middle = 100 * order.index(name) + 50
        assert np.abs(picture[middle - 30 : middle + 30, 20:80] - level).max() <= 1, name


def test_another_run_can_be_chosen(tmp_path):
    runs = [write(tmp_path / "a", IDS), write(tmp_path / "b", IDS, scale=0.5)]
    found = found_in(browse(act(report_runs(runs, tmp_path / "both.html"), CHOOSE_B), "--dump-dom"))
    assert found["restored"] == "b/images/0/a.png" and found["now"].startswith("runB: bt00")
    assert found["chosen"] == 1 and found["pressed"].startswith("B: b, t0 = 0: RMSE ") and found["curves"] == 2
