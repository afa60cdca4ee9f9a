"""report.html: what it shows, links to and escapes."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import rps.report
from rps.metrics import Statistics, as_saved
from rps.records import RecordWriter, evaluate, read_records, summary
from rps.records.files import file_name, level_name
from rps.report import Shown, compare_runs, pixels, report_runs, save_picture, write_page
from rps.report.paired_table import paired_columns
from rps.report.view import without_folders
from tests.rps.predictions import Blocks, clean_images, prediction

IDS = ["a", "b & c", "100%", "<script>alert(1)</script>"]


class Page(HTMLParser):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(self.text)
        self.data = json.loads(self.text.split('id="data">')[1].split("</script>")[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def links(self) -> list[str]:
        """What the page refers to."""
        found = [value for _, a in self.tags for name in ("src", "href") if (value := a.get(name))]
        for sample in self.data["samples"]:
            found += [link for link in (sample["clean"], *sample["measured"]) if link]
            found += [link for links in sample["restored"] for link in links]
        return found


def write(
    run: Path,
    ids: list[str],
    with_reference: bool = True,
    scale: float = 1.0,
    network: str = Blocks.name,
    **more,
) -> Path:
    """A run with records and pictures.  scale: of all restorations. network: the name of the features."""
    made = prediction(ids, with_reference=with_reference, **more)
    for level, x in made.restoration.images.items():
        made.restoration.images[level] = scale * x
    found = evaluate(made, features=Blocks())
    RecordWriter(run).write(found.rows, "t0", found.vectors, network)
    sets = {level_name(level): x for level, x in made.restoration.images.items()}
    sets |= {"measurement": made.measurement.y} | ({"reference": made.reference} if with_reference else {})
    for folder, x in sets.items():
        for id_, image in zip(ids, x, strict=True):
            if bool(image.isfinite().all()):
                save_picture(pixels(as_saved(image[None])[0]), run / "images" / folder / f"{file_name(id_)}.png")
    return run


@pytest.fixture
def run(tmp_path):
    return write(tmp_path / "run", IDS, broken=((50, IDS[0]),))


@pytest.fixture
def page(run):
    others = Statistics.from_features(Blocks()(as_saved(clean_images([f"other {i}" for i in range(50)]))), "others")
    records = read_records(run)
    found = summary(records, others)
    found["failures"][IDS[3]] = "</script><b>bad</b>"
    save_picture(pixels(clean_images(["x"])[0].clamp(0, 1)), run / "grids" / "rank0_batch00000.png")
    for name in ("config.yaml", "metrics.json"):
        (run / name).write_text("{}")
    return Page(write_page(run / "report.html", [Shown("run", run, records, found)]))


def test_every_level_and_every_whole_set_of_pictures_is_there(page):
    assert page.data["runs"][0]["levels"] == ["0", "50", "100"]
    assert sum(tag == "tr" and a.get("class") == "level" for tag, a in page.tags) == 3
    assert [sample["id"] for sample in page.data["samples"]] == sorted(IDS[1:])  # one lacks a level
    assert all(len(sample["restored"][0]) == 3 and sample["clean"] for sample in page.data["samples"])


def test_every_link_is_a_file_of_the_run(run, page):
    assert len(page.links()) == 3 * 5 + 2 + 2
    for link in page.links():
        assert not link.startswith(("/", "..", "file:")) and (run / unquote(link)).is_file(), link


def test_pictures_have_the_recorded_values(run, page):
    rows, names = read_records(run).rows, [metric["name"] for metric in page.data["metrics"]]
    assert {"rmse", "psnr", "ssim", "consistency"} <= set(names)
    for sample in page.data["samples"]:
        for name, values in zip(names, sample["values"][0], strict=True):
            recorded = [rows["restored", level][sample["id"]].metrics[name] for level in (0, 50, 100)]
            assert values == pytest.approx(recorded, rel=1e-4)


def test_text_from_data_is_escaped(page):
    assert sum(tag == "script" for tag, _ in page.tags) == 2 == page.text.count("</script>")
    assert sum(tag == "b" for tag, _ in page.tags) == 1  # ours: how many failed
    assert "</script><b>bad</b>" in page.words
    assert IDS[3] in [sample["id"] for sample in page.data["samples"]]


def test_nothing_is_fetched(page):
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", page.text)
    assert not any(tag in ("link", "iframe", "object") or (tag == "script" and "src" in a) for tag, a in page.tags)


def test_everything_with_a_name_can_be_reached(page):
    """Inputs have labels, tables that scroll can be focused, headers say what they head."""
    labels = sum(tag == "label" for tag, _ in page.tags)
    assert labels == sum(tag in ("input", "select") for tag, _ in page.tags) > 3
    regions = [a for tag, a in page.tags if a.get("class", "").startswith("scroll")]
    assert regions and all(a["tabindex"] == "0" and a["role"] == "region" and a["aria-label"] for a in regions)
    assert all(a.get("scope") in ("row", "col") for tag, a in page.tags if tag == "th")
    assert all("alt" in a for tag, a in page.tags if tag == "img")


def luminance(colour: str) -> float:
    """WCAG 2.2, of "#rrggbb"."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_have_contrast():
    """Of texts and of the curves' labels 4.5 : 1, of marks 3 : 1, light and dark."""
    css = (Path(rps.report.__file__).parent / "page.css").read_text()
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S))
    for colours in (light, dark):
        for name in colours.keys() - {"paper", "wash", "line"}:
            for ground in ("paper", "wash") if name in ("ink", "soft") else ("paper",):
                high, low = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= (3 if name == "grey" else 4.5), (name, colours[name], ground)


def test_a_run_without_curve_and_pictures_has_a_page(tmp_path):
    found = evaluate(prediction(IDS, with_reference=False))
    RecordWriter(tmp_path).write(found.rows, "t0")
    page = Page(report_runs([tmp_path], tmp_path / "report.html"))
    assert not any(tag in ("svg", "img", "dialog") for tag, _ in page.tags)
    assert "Figures" in page.words


def test_pictures_without_clean_images(tmp_path):
    run = write(tmp_path / "run", IDS, with_reference=False)
    page = Page(report_runs([run], run / "report.html"))
    assert len(page.data["samples"]) == 4 and {sample["clean"] for sample in page.data["samples"]} == {None}


def test_a_standalone_page_links_to_nothing(run, tmp_path):
    (run / "config.yaml").write_text(f"# command: rps predict --data.folder {tmp_path}/photos --model.t0 '[0, 1/2]'\n")
    page = Page(report_runs([run], tmp_path / "one.html", standalone=True, most=2))
    assert len(page.data["samples"]) == 2 and len(page.links()) == 2 * 5
    assert all(link.startswith("data:image/png;base64,iVBOR") for link in page.links())
    assert str(tmp_path) not in page.text
    assert "rps predict --data.folder …/photos --model.t0 '[0, 1/2]'" in page.words
    (run / "images" / "0" / "b & c.png").write_bytes(b"secret")
    with pytest.raises(ValueError, match=r"b & c.png is no PNG or WebP"):
        report_runs([run], tmp_path / "one.html", standalone=True)


def test_folders_are_cut_off_paths_alone():
    assert without_folders("~/a/b.png, --x=/a/b/c d/e ../p/q") == "…/b.png, --x=…/c d/e …/q"
    assert without_folders("a 1/2 of 3 / 4, https://x.org/a/b and /a") == "a 1/2 of 3 / 4, https://x.org/a/b and /a"


def test_several_runs_on_one_page(tmp_path):
    """On the samples that all restored; every point of the worse run is grey, and named is what is below it."""
    ids = [f"image {i}" for i in range(20)]
    a, b = write(tmp_path / "a", ids[:18]), write(tmp_path / "more" / "b", ids[2:], scale=0.5)
    page = Page(report_runs([a, b], tmp_path / "both.html"))
    assert [run["name"] for run in page.data["runs"]] == ["A: a", "B: b"]
    assert [sample["id"] for sample in page.data["samples"]] == sorted(ids[2:18])
    assert {unquote(link).split("/images/")[0] for link in page.links()} == {"a", "more/b"}
    assert str(tmp_path) not in page.text
    here, there = ([point["dominated"] for point in run["points"]] for run in page.data["runs"])
    assert here == [None, "A: a, t0 = 0", "A: a, t0 = 0"] and there == ["A: a, t0 = 0"] * 3
    assert [run["lines"][0][1] for run in page.data["runs"]] == ["16", "16"]
    titles, cells = zip(*paired_columns(compare_runs(a, b)), strict=True)
    table = page.text.split("<h2>Paired differences</h2>")[1].split("</table>")[0]
    assert re.findall(r'<th scope="col">([^<]*)</th>', table) == list(titles)
    rows = [re.findall(r">([^<>]*)</t[hd]>", row) for row in table.split("<tr>")[2:]]
    assert rows == [list(row) for row in zip(*cells, strict=True)] and rows[0][-1] == "A"
    assert "On the 16 samples that all runs restored." in page.words


def test_runs_whose_distances_differ_in_kind_have_no_plane(tmp_path):
    a, b = write(tmp_path / "a", IDS), write(tmp_path / "b", IDS, network="other features")
    page = Page(report_runs([a, b], tmp_path / "both.html"))
    assert not any(tag == "svg" for tag, _ in page.tags) and len(page.data["samples"]) == 4
    assert any(word.startswith("There is no plane: Frechet distances of different features") for word in page.words)


def test_runs_without_a_common_sample_have_no_page(tmp_path):
    a, b = write(tmp_path / "a", ["1", "2"]), write(tmp_path / "b", ["3", "4"])
    with pytest.raises(ValueError, match="have no sample that all restored"):
        report_runs([a, b], tmp_path / "both.html")
