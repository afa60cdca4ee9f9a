"""New records of a run take the place of the old ones at once, whenever the process is killed."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from rps.records import RecordWriter, Row, RunDirectory, Vectors, read_records
from rps.records.staging import STAGED, complete, stage
from tests.rps.test_run_directory import OLD, THEIRS, killed_at, put, state

IDS = ("00", "a/b")


@pytest.fixture
def run(tmp_path) -> Path:
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()
    directory.begin(OLD, ["--config", "old"])
    record(directory.path, 0.1)
    for name in ("metrics.json", "table.md", "report.html", "grids/rank0_batch00000.png", "images/0/00.png", *THEIRS):
        put(directory.path / name)
    return directory.path


def record(folder: Path, value: float) -> None:
    rows = [Row(id_, level, metrics={"rmse": value}) for id_ in IDS for level in (0, 0.5)]
    vectors = [Vectors(IDS, 0, "restored", torch.full((2, 3), value))]
    RecordWriter(folder).write(rows, "t0", vectors, f"network {value}")


def prepare(run: Path) -> None:
    staged = stage(run)
    record(staged, 0.2)
    for name in ("metrics.json", "table.md", "dp_curve.png"):
        (staged / name).write_text("new")
    (staged / "config.yaml").write_text("new: true")


def found(run: Path) -> set[float]:
    """Which of the two values the records, the features and the name of the network have."""
    records = read_records(run)
    values = {row.metrics["rmse"] for rows in records.rows.values() for row in rows.values()}
    values |= {round(x.tolist()[0], 3) for x in records.features["restored", 0].values()}
    return values | {float(str(records.network).split()[-1])}


def test_a_kill_at_any_change_leaves_one_of_the_two(run, monkeypatch):
    """Readers find the records of one, never of both; what starts next finishes or forgets it."""
    whole, step, killed, seen = run.with_name("whole"), 0, True, []
    config, before = RunDirectory(run).config(), state(run)
    shutil.copytree(run, whole)
    while killed:
        shutil.rmtree(run)
        shutil.copytree(whole, run)
        prepare(run)
        with monkeypatch.context() as patch:
            if step % 2:  # on a file system without links
                patch.setattr(os, "link", no_links)
            killed = killed_at(step, monkeypatch, lambda: complete(run))
        new = found(run) == {0.2}
        assert new or found(run) == {0.1}, step
        assert RunDirectory(run).config() == ({"new": True} if new else config), step
        RunDirectory(run).recover()
        assert found(run) == ({0.2} if new else {0.1}) and not (run / STAGED).exists(), step
        after = state(run)
        kept = after if not new else {name for name in before if name.startswith(("images", "grids"))} | {*THEIRS}
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}, step
        assert not new or (after["table.md"] == b"new" and after["config.yaml"] == b"new: true"), step
        assert not [name for name in after if ".part" in name], step
        seen.append(new)
        step += 1
    assert seen == sorted(seen) and 0 < sum(seen) < len(seen) and step > 8


def no_links(*paths: object) -> None:
    raise OSError("no links here")


def test_features_that_are_no_longer_computed_are_gone(run):
    record_rows = [Row(id_, 0, metrics={"rmse": 0.2}) for id_ in IDS]
    RecordWriter(stage(run)).write(record_rows, "t0")
    complete(run)
    assert not (run / "features").exists() and read_records(run).features == {}
