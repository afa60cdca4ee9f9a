"""report.html: what it shows, links to and escapes."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from rps.metrics import Statistics, as_saved
from rps.records import RecordWriter, evaluate, read_records, summary
from rps.report import write_page
from tests.rps.predictions import Blocks, clean_images, prediction

IDS = ["a", "b & c", "<script>alert(1)</script>"]


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


@pytest.fixture
def run(tmp_path):
    found = evaluate(prediction(IDS, broken=((50, IDS[0]),)), features=Blocks())
    RecordWriter(tmp_path).write(found.rows, "t0", found.vectors, Blocks.name)
    for level in ("0", "50", "100", "measurement"):
        (tmp_path / "images" / level).mkdir(parents=True)
        for name in ("b & c.png", "100%25.png"):
            (tmp_path / "images" / level / name).write_bytes(b"picture")
    (tmp_path / "images" / "0" / "only at one level.png").write_bytes(b"picture")
    return tmp_path


@pytest.fixture
def page(run):
    others = Statistics.from_features(Blocks()(as_saved(clean_images([f"other {i}" for i in range(50)]))), "others")
    records = read_records(run)
    found = summary(records, others)
    found["failures"][IDS[2]] = "</script><b>bad</b>"
    path = write_page(run, found)
    return Page(path.read_text(encoding="utf-8"))


def test_slider_has_a_stop_for_every_level(page):
    slider = next(attributes for tag, attributes in page.tags if attributes.get("id") == "knob" and tag == "input")
    assert slider["max"] == "2"
    assert sum(tag == "tr" and a.get("class") == "level" for tag, a in page.tags) == 3


def test_every_picture_is_there_and_only_whole_sets_are_shown(run, page):
    sources = [a["src"] for tag, a in page.tags if tag == "img"]
    assert len(sources) == 4  # two samples: measurement and restoration
    script = (run / "report.html").read_text()
    sources += re.findall(r'"(images/[^"]+)"', script)
    assert len(sources) > 8
    for source in sources:
        assert (run / unquote(source.replace("\\u0026", "&"))).is_file(), source


def test_text_from_data_is_escaped(run, page):
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert sum(tag == "b" for tag, _ in page.tags) == 1  # ours: how many failed
    assert IDS[2] in page.words and "</script><b>bad</b>" in page.words
    assert (run / "report.html").read_text().count("</script>") == 1


def test_nothing_is_fetched(run, page):
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", (run / "report.html").read_text())


def test_a_run_without_curve_and_pictures_has_a_page(tmp_path):
    found = evaluate(prediction(IDS, with_reference=False))
    RecordWriter(tmp_path).write(found.rows, "t0")
    page = Page(write_page(tmp_path, summary(read_records(tmp_path))).read_text())
    assert not any(tag in ("svg", "img") for tag, _ in page.tags)
    assert "Figures" in page.words
