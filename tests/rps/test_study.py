"""Study files, and the table that is made of finished runs."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from rps.cli.arguments import packaged_configs
from rps.records import write_json
from rps.records.directory import RunRefused
from rps.report import compare_runs, finish
from rps.report.pictures import save_picture
from rps.study import Runs, check_study, read_study, write_report
from tests.rps.test_compare import write

ROOT = Path(__file__).parents[2]
STUDIES = [*sorted((ROOT / "tools" / "studies").glob("*.yaml")), *packaged_configs(studies=True).values()]


def a_study(folder, **content):
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({"title": "a title", "runs": {"a": {}}, **content}, sort_keys=False))
    return path


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_can_be_read(path):
    study = read_study(path)
    assert study.title and study.runs
    assert len({study.folder(run, task) for run in study.runs for task in study.tasks}) == len(study.runs) * len(
        study.tasks
    )


def test_runs_of_a_grid(tmp_path):
    """Own settings win over common ones, and those of the grid over both; a single name is left out."""
    common = {"configs": ["demo", "embedded/TASK"], "set": {"model.steps": 10, "data.limit": 8}}
    own = {"configs": ["b"], "set": {"data.limit": 4, "model.sampler": {"class_path": "Dps"}}}
    grid = {"model.steps": [20, 30]}
    study = read_study(a_study(tmp_path, common=common, runs={"a": None, "b": own}, grid=grid, tasks=["sr4"]))
    assert list(study.runs) == ["a, steps 20", "a, steps 30", "b, steps 20", "b, steps 30"]
    assert study.varied == {"model.steps", "data.limit", "model.sampler"}
    assert study.runs["b, steps 30"].arguments("sr4") == [
        "--config", "demo", "--config", "embedded/sr4", "--config", "b", "--model.steps", "30", "--data.limit", "4",
        "--model.sampler", '{"class_path": "Dps"}',
    ]  # fmt: skip
    assert study.folder("b, steps 30", "sr4") == Path("sr4/b_steps_30")
    single = read_study(a_study(tmp_path, grid={"seed": [0, 1], "model.noise": [0.1]}))
    assert list(single.runs) == ["seed 0, noise 0.1", "seed 1, noise 0.1"]


BAD = {
    "no mapping": ("[]", r"the file must be a mapping with keys title, common, .*, got \[\]"),
    "no YAML": ("a: [", "is not valid YAML at line 1"),
    "unknown key": ({"colums": []}, "'colums' is not a key of the file; did you mean columns?"),
    "no runs": ({"runs": None}, "runs must be a mapping of names to settings, e.g. MAP-RPS: {}, got None"),
    "missing": ("title: x", "the file has no runs; add a mapping of names to settings"),
    "missing title": ("runs: {a: {}}", "the file has no title; add a text"),
    "unknown key of a run": ({"runs": {"a": {"sets": {}}}}, "'sets' is not a key of the run a; did you mean set?"),
    "a run that is a text": ({"runs": {"a": "demo"}}, "the run a must be a mapping with keys configs, set, got 'demo'"),
    "one config": ({"common": {"configs": "demo"}}, "configs of common must be a list of names or files, got 'demo'"),
    "no option": ({"runs": {"a": {"set": {"output": "x"}}}}, "the run a sets 'output', which is not an option of runs"),
    "an option with spaces": ({"common": {"set": {"model.x --y": 1}}}, "common sets 'model.x --y', which is not an"),
    "a date": ("title: x\nruns: {a: {set: {model.x: 2020-01-01}}}", "model.x of the run a must be made of numbers"),
    "a grid of one": ({"grid": {"model.x": 1}}, "grid must be a mapping of options to lists of values"),
    "an empty grid": ({"grid": {"model.x": []}}, "grid must be a mapping of options to lists of values"),
    "tasks": ({"tasks": []}, r"tasks must be a list of names, got \[\]"),
    "columns": ({"columns": [1]}, r"columns must be a list of names, got \[1\]"),
    "a key twice": ("title: x\nruns: {a: {}, a: {}}", "the key 'a' is given twice in line 2; keep one of them"),
    "one run for two tasks": (
        {"common": {"configs": ["demo"]}, "tasks": ["sr4", "inpaint"]},
        "the run a is the same for the tasks sr4, inpaint; write TASK where they differ",
    ),
    "baselines": ({"baselines": "yes please"}, "baselines must be true or false, got 'yes please'"),
    "figures outside": ({"figures": {"../x": "y"}}, "figures must be a mapping of files of a run to suffixes"),
    "the same folder": ({"runs": {"a b": {}, "a_b": {}}}, "'a_b' and 'a b' would have the same folder, a_b; rename"),
    "no folder": ({"runs": {"..": {}}}, "the name '..' needs a letter or digit, for its folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_sentence(case, tmp_path):
    content, expected = BAD[case]
    path = tmp_path / "study.yaml"
    path.write_text(content) if isinstance(content, str) else a_study(tmp_path, **content)
    with pytest.raises(ValueError, match=expected) as raised:
        read_study(path)
    assert str(raised.value).startswith(f"study {path}") and "\n" not in str(raised.value)


@pytest.fixture
def finished(tmp_path):
    """The folder of a study of three runs: b has less error than a by .05, c another knob, no image is lost."""
    errors = [0.1 * i for i in range(1, 9)]
    for name, options in {"a": {}, "b": {"seed": 3}, "c": {"knob": "samples", "levels": (1, 2)}}.items():
        folder = write(tmp_path / "x" / name, [e - 0.05 * (name == "b") for e in errors], **options)
        finish(folder)
    return tmp_path / "x"


def cells(table):
    """Title -> cells of a markdown table."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return dict(zip(rows[0], zip(*rows[2:], strict=True), strict=True))


def test_the_table_has_paired_differences_to_the_first_run(finished, tmp_path):
    study = read_study(a_study(tmp_path, runs={"a": {}, "b": {}, "c": {}}))
    files, troubles = write_report(study, study.tasks, finished)
    assert [file.name for file in files] == ["table.md", "study.json", "curves.png"] and troubles == []
    text = (finished / "table.md").read_text()
    found = cells(text)
    assert found["run"] == ("a", "a", "b", "b", "c", "c")
    assert found["knob"] == ("t0 0", "t0 100", "t0 0", "t0 100", "samples 1", "samples 2")
    change = found["minus the first run, paired"]
    assert change[0] == change[1] == change[4] == ""
    distance = compare_runs(finished / "b", finished / "a")["levels"][0]["metrics"]["sqrt_frechet"]
    assert change[2].startswith("RMSE -0.0500 ± 0.0000, √FD ")
    assert float(change[2].split("√FD ")[1].split()[0]) == pytest.approx(distance["difference"], abs=0.01)
    assert "Without a difference to the first run: c (no level in common)." in text
    assert "consistency" not in found and "minus its first level, paired" not in found


def test_chosen_columns_and_lines_of_baselines(finished, tmp_path):
    columns = ["run", "sqrt FD", "minus its first level, paired", "PSRN"]
    study = read_study(a_study(tmp_path, columns=columns, baselines=True, figures={"dp_curve.png": "curve"}))
    files, troubles = write_report(study, study.tasks, finished)
    assert troubles == ["the column 'PSRN' of the study is left out: no run fills it"]
    found = cells((finished / "table.md").read_text())
    assert list(found) == ["run", "√FD", "minus its first level, paired"] and found["run"] == ("A⁺y", "a", "a")
    assert files[2].name == "curve.png" and files[2].read_bytes() == (finished / "a" / "dp_curve.png").read_bytes()


def test_pictures_are_side_by_side(finished, tmp_path):
    """Columns clean, A^+ y, a at both levels, b, c; rows the samples that all have, each in a grey of its own."""
    greys = {"reference": 10, "measurement": 20, "0": 30, "100": 40, "1": 50, "2": 60}
    for name, folders in {"a": list(greys)[:4], "b": ["0", "100"], "c": ["1", "2"]}.items():
        for i, folder in enumerate(folders):
            for sample in range(3 if name != "b" or i else 2):
                grey = np.full((32, 32), greys[folder] + 80 * sample, dtype=np.uint8)
                save_picture(grey, finished / name / "images" / folder / f"s{sample}.png")
    study = read_study(a_study(tmp_path, runs={"a": {}, "b": {}, "c": {}}, figures={"images": "pictures"}))
    files, troubles = write_report(study, study.tasks, finished)
    assert [file.name for file in files] == ["table.md", "study.json", "pictures.png"] and troubles == []
    with Image.open(files[2]) as picture:
        sheet = np.asarray(picture)[..., 0]
    cell, gap = 96, 3
    assert sheet.shape[1] == 8 * (cell + gap) + gap
    top = sheet.shape[0] - 2 * (cell + gap)
    middle = [[sheet[top + y * (cell + gap) + 48, gap + x * (cell + gap) + 48] for x in range(8)] for y in range(2)]
    assert middle[0] == [10, 20, 30, 40, 30, 40, 50, 60]
    assert middle[1] == [90, 100, 110, 120, 110, 120, 130, 140]
    alone = read_study(a_study(tmp_path, runs={"b": {}}, figures={"images": "pictures"}))
    assert write_report(alone, alone.tasks, finished)[1] == []
    for path in (finished / "c" / "images" / "1").iterdir():
        path.unlink()
    assert "no pictures of the same samples; add rps.callbacks.ImageWriter" in write_report(study, [""], finished)[1][0]


def test_what_was_saved_is_noted(finished, tmp_path):
    """Two runs of 8 images; 40 of the 60 forwards of the second were read."""
    import json

    for name, stored in (("a", 0), ("b", 40)):
        summary = json.loads((finished / name / "metrics.json").read_text())
        summary |= {"total_forward_equivalents_per_image": 60, "stored_forward_equivalents_per_image": stored}
        write_json(finished / name / "metrics.json", summary)
    study = read_study(a_study(tmp_path, runs={"a": {}, "b": {}}))
    write_report(study, study.tasks, finished)
    assert "computed stage 1 once: 320 of 960 network forwards were saved." in (finished / "table.md").read_text()
    assert json.loads((finished / "study.json").read_text())["saved_forward_equivalents"] == 320


def test_a_task_replaces_its_name_in_values(tmp_path):
    settings = {"data.folder": "pictures/TASK", "model.operator": {"class_path": "MaskFile", "path": "masks/TASK.png"}}
    run = read_study(a_study(tmp_path, runs={"a": {"set": settings}}, tasks=["box", "line"])).runs["a"]
    assert run.arguments("box")[1:] == [
        "pictures/box", "--model.operator", '{"class_path": "MaskFile", "path": "masks/box.png"}'
    ]  # fmt: skip
    assert run.arguments()[1] == "pictures/TASK"
    assert len(read_study(a_study(tmp_path, common={"configs": ["demo"]}, tasks=["sr4"])).runs) == 1  # only a name


def test_runs_of_other_pictures_are_not_lower_in_both(tmp_path):
    """d and e have other clean images under the same ids; at level 0 the distance is smaller than at 100."""
    options = {"a": (0.0, 1), "b": (0.05, 1), "d": (0.1, 2), "e": (0.15, 2)}
    for name, (less, clean_seed) in options.items():
        finish(write(tmp_path / "x" / name, [0.2 + 0.1 * i - less for i in range(8)], clean_seed=clean_seed))
    study = read_study(a_study(tmp_path, runs={name: {} for name in options}))
    write_report(study, study.tasks, tmp_path / "x")
    text = (tmp_path / "x" / "table.md").read_text()
    found = cells(text)
    lower = dict(zip(zip(found["run"], found["knob"], strict=True), found["lower in both"], strict=True))
    assert lower["a", "t0 100"] == "b 0" and lower["d", "t0 100"] == "e 0" and lower["b", "t0 100"] == ""
    assert "Without a difference to the first run: d (" in text and "different clean images" in text


def test_another_study_is_refused(finished, tmp_path):
    """One that lacks a run of the report; not one that has more, or another table."""
    of = {"a": {"configs": ["TASK"]}, "b": {}}
    check_study(read_study(a_study(tmp_path, runs={"a": {}})), finished)  # there is no report yet
    study = read_study(a_study(tmp_path, runs={"a": {}, "b": {}}))
    write_report(study, study.tasks, finished)
    more = {"title": "new", "runs": {"b": {}, "a": {}, "c": {}}, "columns": ["run"], "figures": {}, "page": "p"}
    check_study(read_study(a_study(tmp_path, **more)), finished)
    for other in ({"runs": {"a": {}}}, {"runs": {"a": {}, "B": {}}}):
        with pytest.raises(
            RunRefused, match="report of another study, with a run 'b' that this one lacks; give another"
        ):
            check_study(read_study(a_study(tmp_path, **other)), finished)
    with pytest.raises(RunRefused, match="with a run 'a' that this one lacks"):
        check_study(read_study(a_study(tmp_path, runs=of | {"b": of["a"]}, tasks=["sr4", "box"])), finished)


def test_settings_add_up():
    both = Runs(["x"], {"a": 1, "b": 2}) | Runs(["y"], {"b": 3})
    assert both == Runs(["x", "y"], {"a": 1, "b": 3})
