"""A run that is extended by levels and samples is, bit for bit, the run that had them from the start."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from rps.cli import main
from rps.records import read_records
from tests.resume_fakes import CONFIG, kill, metrics, more_records_than, start

NETWORK = {"total_network_calls_per_image", "total_forward_equivalents_per_image"}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch, no_curve):
    monkeypatch.chdir(tmp_path)
    Path("fake.yaml").write_text(CONFIG)


def rps(levels: str, *arguments: str, output: str = "run", knob: str = "t0") -> int:
    return main(["predict", "--config", "fake.yaml", "--output", output, f"--model.{knob}", levels, *arguments])


def records(output: str) -> list:
    """All rows and features, without times and what all levels together have cost."""
    found = read_records(output)
    cost = {"total_network_calls": None, "total_forward_equivalents": None, "seconds": None}
    rows = [replace(row, cost=row.cost._replace(**cost)) for of in found.rows.values() for row in of.values()]
    features = {(*key, id_): x.tolist() for key, of in found.features.items() for id_, x in of.items()}
    return [sorted(rows, key=str), features, found.duplicates, found.origin]


def pictures(output: str, *rooms: str) -> dict[str, bytes]:
    places = [path for room in rooms or ("images", "grids") for path in Path(output, room).rglob("*.png")]
    return {str(path.relative_to(output)): path.read_bytes() for path in places}


def same_but_for_the_total(one: str, other: str, *rooms: str) -> None:
    assert records(one) == records(other)
    assert pictures(one, *rooms) == pictures(other, *rooms)
    a, b = metrics(one), metrics(other)
    assert {name: a[name] for name in a.keys() - NETWORK} == {name: b[name] for name in b.keys() - NETWORK}


def test_levels_and_samples_are_added(capsys):
    """Eight samples lack a level, three are new; one of each sort cannot be read."""
    broken = ["--data.broken", "[3,9]"]
    assert rps("[0,50,90]", "--data.limit", "11", *broken, output="whole") == 3
    assert rps("[0,50]", "--data.limit", "8", *broken) == 3
    capsys.readouterr()
    assert rps("[0,50,90]", "--data.limit", "11", *broken) == 3
    said = capsys.readouterr().err.splitlines()
    same_but_for_the_total("run", "whole")
    assert metrics()["levels"][2]["n"] == 9 and metrics()["failed"] == 2
    assert said[:2] == [
        "rps: resuming run: 0 samples are done",
        "rps: 8 recorded samples lack t0 = 90 alone: 6 network calls each, 2 of them again, since only pictures are "
        "saved",
    ]


def test_costs_of_an_extended_run_are_those_of_all_its_passes():
    """Stage 1, two calls, is run again for the samples that lack a level: 2 + 4 calls, then 2 + 2."""
    assert rps("[0,90]", "--data.limit", "2") == rps("[0,50,90]", "--data.limit", "3") == 0
    rows = read_records("run").rows
    assert {level: rows["restored", level]["00"].cost.network_calls for level in (0, 50, 90)} == {0: 2, 50: 4, 90: 6}
    totals = [{id_: row.cost.total_network_calls for id_, row in rows["restored", level].items()} for level in (50, 90)]
    assert totals == [{"00": 6 + 4, "01": 6 + 4, "02": 8}, {"00": 6, "01": 6, "02": 8}]
    assert metrics()["total_network_calls_per_image"] == pytest.approx((10 + 10 + 8) / 3)


def test_another_subset_of_the_data_and_another_level_of_it():
    assert rps("[0,50]", "--data.limit", "8", output="whole") == 0
    assert rps("[0,50]", "--data.limit", "4") == rps("[0]", "--data.limit", "4", "--data.skip", "4") == 0
    assert [level["n"] for level in metrics()["levels"]] == [8, 4]
    assert rps("[50]", "--data.limit", "3", "--data.skip", "3") == rps("[50,0]", "--data.skip", "7") == 0
    assert [level["n"] for level in metrics()["levels"]] == [13, 12]
    assert rps("[0,50]", "--data.limit", "13") == 0, "the one that is left"
    assert rps("[0,50]", "--data.limit", "13", output="whole") == 0
    assert records("run")[:2] == records("whole")[:2]


def test_fewer_levels_and_samples_leave_the_run_as_it_is():
    """What is recorded stays, all of it is reported, and config.yaml still says so."""
    assert rps("[0,50]", "--data.limit", "4") == 0
    before, config = (records("run"), pictures("run"), metrics()), yaml.safe_load(Path("run/config.yaml").read_text())
    assert rps("[50]", "--data.limit", "2") == 0
    assert (records("run"), pictures("run"), metrics()) == before
    assert yaml.safe_load(Path("run/config.yaml").read_text()) == config
    assert rps("[90]", "--data.limit", "2") == 0
    config["model"]["init_args"]["t0"] = [0, 50, 90]
    assert yaml.safe_load(Path("run/config.yaml").read_text()) == config
    assert "# extended: 20" in Path("run/config.yaml").read_text()


def test_averages_of_more_samples_run_their_chains_again(capsys):
    def average(levels: str, output: str) -> int:
        text = CONFIG.replace("MapRps", "SampleAverage").replace("t0: [0, 50]", f"levels: {levels}")
        Path("average.yaml").write_text("\n".join(line for line in text.splitlines() if "estimator" not in line))
        return main(["predict", "--config", "average.yaml", "--data.limit", "3", "--output", output])

    assert average("[1,2,4]", "whole") == average("[1,2]", "run") == 0
    capsys.readouterr()
    assert average("[1,2,4]", "run") == 0
    same_but_for_the_total("run", "whole", "images")  # grids lack the spread of the first levels, which is not saved
    said = "3 recorded samples lack samples = 4 alone: 160 network calls each, 80 of them again, since"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "difference"),
    [
        (["--model.noise", "0.2"], "model.noise was 0.1 and is now 0.2"),
        (["--model.operator.refuse_above", "8.0"], "model.operator.refuse_above was 9.0 and is now 8.0"),
        (["--model.estimator.num_steps", "3"], "model.estimator.num_steps was 2 and is now 3"),
        (["--model.steps", "20"], "model.steps was 40 and is now 20"),
        (["--seed", "1"], "model.seed was 0 and is now 1"),
        (["--data.count", "12"], "data.count was 13 and is now 12"),
        (["--trainer.callbacks.ImageWriter.format", "webp"], 'trainer.callbacks.1.format was null and is now "webp"'),
    ],
)
def test_what_contradicts_is_refused_also_with_more_levels(given, difference, capsys):
    """Without a run of the first config: the check is of configs alone."""
    Path("run/records").mkdir(parents=True)
    Path("run/.rps-run").write_text("rps run directory, format 1\n")
    assert rps("[0,50]", "--print_config", output="run") == 0
    Path("run/config.yaml").write_text(capsys.readouterr().out)
    assert rps("[0,50,90]", "--data.limit", "20", *given) == 2
    message = capsys.readouterr().err
    assert f"holds a run of another config: {difference}; resume" in message and "rps evaluate" not in message


def test_an_extension_that_is_killed_is_resumed():
    many = ["--model.prior.seconds", "0.03", "--data.batch_size", "1", "--data.limit"]
    assert rps("[0,50,90]", *many, "7", output="whole") == rps("[0,50]", *many, "4") == 0
    child = start("--model.t0", "[0,50,90]", *many, "7")
    more_records_than(5)
    kill(child)
    assert len(read_records("run").rows["restored", 90]) < 7
    assert rps("[0,50,90]", *many, "7") == 0
    assert records("run")[:2] == records("whole")[:2]
    assert pictures("run", "images") == pictures("whole", "images")
