"""The run directory: what is ours, what is removed, and what a kill at any moment leaves."""

import os
from pathlib import Path

import pytest
import yaml

from rps.records import RecordWriter, Row, RunDirectory, is_run, sweep
from rps.records.directory import MARKER, REPLACED, RunRefused, RunRemoved
from rps.records.files import file_name

OLD, NEW = yaml.safe_dump({"model": {"t0": [0]}}), yaml.safe_dump({"model": {"t0": [1]}})
THEIRS = ["notes.txt", "images/0/00 (annotated).png", "images/mine/00.png", "grids/best.png", "records/copy.parquet"]


def write(run: Path, ids=("00", "a/b")) -> None:
    """What a run writes after `begin`."""
    rows = [Row(id_, level, metrics={"rmse": 0.1}) for id_ in ids for level in (0, 0.5)]
    RecordWriter(run).write(rows, "t0")
    for level in ("0", "0.5", "measurement", "reference"):
        for id_ in ids:
            put(run / "images" / level / f"{file_name(id_)}.png")
    put(run / "grids" / "rank0_batch00000.png")
    for name in ("metrics.json", "table.md", "dp_curve.png", "report.html"):
        put(run / name)


def put(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)


def state(run: Path) -> dict[str, bytes]:
    """Every file but those by which a directory is administered."""
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}


@pytest.fixture
def run(tmp_path) -> Path:
    """A run of OLD, beside files of the user's."""
    directory = RunDirectory(tmp_path / "run")
    directory.path.mkdir()
    directory.begin(OLD, ["--config", "old"])
    write(directory.path)
    for name in THEIRS:
        put(directory.path / name)
    return directory.path


def test_a_run_is_known_by_its_marker_alone(run, tmp_path):
    assert is_run(run) and RunDirectory(run).check(OLD, overwrite=False)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.yaml").write_text("# rps predict\nmodel: {}")
    with pytest.raises(RunRefused, match=r"is not empty and was not written by rps \(it has no file .rps-run\)"):
        RunDirectory(other).check(NEW, overwrite=True)
    (other / MARKER).write_text("of another program")
    with pytest.raises(RunRefused, match="was not written by rps"):
        RunDirectory(other).check(NEW, overwrite=True)


def test_what_replaces_a_run_removes_by_name_what_that_has_written(run):
    directory = RunDirectory(run)
    assert not directory.check(NEW, overwrite=True)
    directory.begin(NEW, [])
    directory.commit()
    assert set(state(run)) == {*THEIRS, "config.yaml", MARKER}
    assert directory.config() == yaml.safe_load(NEW)


def test_a_run_that_cannot_start_gives_its_place_back(run):
    before, directory = state(run), RunDirectory(run)
    directory.begin(NEW, [])
    assert directory.abandon(created=False)
    assert state(run) == before and not (run / REPLACED).exists()


class Killed(BaseException):
    pass


def killed_at(step: int, monkeypatch, act) -> bool:
    """Does act() until the process is killed before its step-th change of the file system.  -> was it?"""
    count = 0

    def counted(change):
        def wrapped(*args, **kwargs):
            nonlocal count
            if count == step:
                raise Killed
            count += 1
            return change(*args, **kwargs)

        return wrapped

    with monkeypatch.context() as patch:
        for place, name in ((os, "replace"), (Path, "unlink"), (Path, "rmdir"), (Path, "mkdir")):
            patch.setattr(place, name, counted(getattr(place, name)))
        try:
            act()
        except Killed:
            return True
    return False


def test_killed_while_an_earlier_run_is_set_aside_or_put_back(run, monkeypatch):
    """At every change of the file system: the earlier run is what the directory holds, and its next start finds all."""
    before = {name: content for name, content in state(run).items() if name != "config.yaml"}
    step, killed = 0, True
    while killed:
        killed = killed_at(step, monkeypatch, lambda: RunDirectory(run).begin(NEW, []))
        if killed and step % 2:  # and again while it is put back
            killed_at(step // 2, monkeypatch, lambda: RunDirectory(run).resume(OLD, []))
        assert RunDirectory(run).check(OLD, overwrite=False), step
        RunDirectory(run).resume(OLD, [])
        after = {name: content for name, content in state(run).items() if name != "config.yaml"}
        assert after == before, step
        step += 1
    assert step > 20


def test_killed_while_the_replaced_run_is_removed(run, monkeypatch):
    """At every change: the new run is what the directory holds, and nothing of the earlier one comes back."""
    step, killed = 0, True
    while killed:
        directory = RunDirectory(run)
        directory.begin(NEW, [])
        killed = killed_at(step, monkeypatch, directory.commit)
        if step:  # the first change removes the earlier run's marker: before it, nothing of the new run is written
            write(run, ids=("new",))
            assert RunDirectory(run).check(NEW, overwrite=False), step
            RunDirectory(run).resume(OLD, [])
            assert not (run / REPLACED).exists() and not list(run.glob("images/0/00.png")), step
        RunDirectory(run).begin(OLD, [])
        RunDirectory(run).commit()
        write(run)
        step += 1
    assert step > 20


@pytest.mark.parametrize("given", ["{run}/images/0", "{run}/images/0/00.png"])
def test_what_the_run_reads_is_never_removed(run, given):
    with pytest.raises(RunRefused, match="which this run reads; give another --output"):
        RunDirectory(run).check(NEW, overwrite=True, inputs=[given.format(run=run)])
    assert RunDirectory(run).check(OLD, overwrite=False, inputs=[str(run)])  # an output called "published", say


def test_sweeping_takes_our_own_temporary_files_in_our_own_folders(run):
    ours = [run / "records" / f".{'a' * 32}.part.parquet", run / "images/0" / f".{'0' * 32}.part.png"]
    theirs = [run / ".film.part", run / "images/0/.photo.part", run / "other" / f".{'b' * 32}.part"]
    for path in (*ours, *theirs):
        put(path)
    assert sweep(run) == 2
    assert not any(path.exists() for path in ours) and all(path.exists() for path in theirs)


@pytest.mark.parametrize("text", ["two\nlines", "next\x85line", "para\u2029graph", "bell\x07", "\udcff", "a: [b"])
def test_any_argument_leaves_a_config_that_can_be_read(tmp_path, text):
    directory = RunDirectory(tmp_path)
    config = yaml.safe_dump({"model": {"prompt": text}})
    directory.begin(config, ["--model.prompt", text])
    for _ in range(2):
        assert RunDirectory(tmp_path).config() == {"model": {"prompt": text}}
        assert RunDirectory(tmp_path).check(config, overwrite=False)
        directory.resume(config, ["--model.prompt", text])


def test_a_directory_that_is_removed_under_a_run_is_noticed(run):
    directory = RunDirectory(run)
    directory.check_there()
    (run / MARKER).unlink()
    with pytest.raises(RunRemoved, match="was removed while the run was writing to it"):
        directory.check_there()


def test_a_checkpoint_of_lightning_in_a_run_is_refused(run):
    """Its Trainer restores hpc_ckpt_*.ckpt of its root directory, whatever it is asked to run."""
    put(run / "hpc_ckpt_1.ckpt")
    with pytest.raises(RunRefused, match=r"load the weights in .*hpc_ckpt_1\.ckpt into the prior; move that file away"):
        RunDirectory(run).check(OLD, overwrite=False)


def test_killed_while_a_first_run_begins(tmp_path, monkeypatch):
    """At every change of the file system: the same command begins or resumes."""
    step, killed = 0, True
    while killed:
        run = tmp_path / str(step)
        run.mkdir()
        killed = killed_at(step, monkeypatch, lambda run=run: RunDirectory(run).begin(NEW, []))
        directory = RunDirectory(run)
        directory.resume(NEW, []) if directory.check(NEW, overwrite=False) else directory.begin(NEW, [])
        directory.commit()
        assert set(state(run)) == {MARKER, "config.yaml"} and directory.config() == yaml.safe_load(NEW), step
        step += 1
    assert step > 3


@pytest.mark.parametrize("content", ["", "a list:\n- 1", "[", None])
def test_records_without_their_config_are_never_taken_for_another_runs(run, content):
    """Whatever became of config.yaml: refused, and nothing is touched."""
    (run / "config.yaml").unlink() if content is None else (run / "config.yaml").write_text(content)
    before = state(run)
    with pytest.raises(RunRefused, match=r"their config\.yaml is missing|is no longer valid YAML|of another config"):
        RunDirectory(run).check(OLD, overwrite=False)
    assert state(run) == before


def test_an_earlier_run_comes_back_although_failures_were_recorded(run):
    """Until a first sample is restored, that is when `commit` is called."""
    before, directory = state(run), RunDirectory(run)
    directory.begin(NEW, [])
    RecordWriter(run).write([Row("00", 1, status="failed", reason="no")], "t0")
    assert directory.put_back() and state(run) == before and not directory.put_back()


def test_a_hidden_file_of_the_users_is_no_reason_to_keep_what_never_began(tmp_path):
    put(tmp_path / ".gitkeep")
    directory = RunDirectory(tmp_path)
    directory.begin(NEW, [])
    assert directory.abandon(created=False) and set(state(tmp_path)) == {".gitkeep"}
    directory.begin(NEW, [])
    put(tmp_path / "images" / "0" / "00.png")  # of the first batch, whose records were not written
    assert not directory.abandon(created=False) and is_run(tmp_path)


def test_records_behind_a_link_are_refused(run):
    (run / "records").rename(run.parent / "elsewhere")
    (run / "records").symlink_to(run.parent / "elsewhere")
    with pytest.raises(RunRefused, match="records is a link, but a run writes only to its own folders; remove"):
        RunDirectory(run).check(NEW, overwrite=True)
