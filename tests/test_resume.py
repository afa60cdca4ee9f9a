"""Runs that are killed, interrupted, refused and resumed; a full disk."""

import ctypes
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from rps.cli import main
from rps.metrics import Statistics
from rps.records import RecordWriter, Row, RunLock, RunLocked, read_records
from tests.resume_fakes import CONFIG, close, count, kill, log, metrics, more_records_than, run, start, wait


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch, no_curve):
    monkeypatch.chdir(tmp_path)
    Path("fake.yaml").write_text(CONFIG)


def ids(output: str = "run") -> list[str]:
    return sorted(read_records(output).rows["restored", 0])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "several"), [(13, 2), (2, 3)])
def test_any_number_of_processes(count, several):
    """An odd number of samples, and fewer samples than processes: some have more batches than others, or none."""
    for processes in (1, several):
        assert run("--data.count", str(count), output=f"on{processes}", processes=processes) == 0, log()
    expected = [f"{i:02d}" for i in range(count)]
    for processes in (1, several):
        assert ids(f"on{processes}") == expected
        assert close(metrics(f"on{processes}"), metrics("on1"))
        assert len(list(Path(f"on{processes}/images/50").glob("*.png"))) == count


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_on_other_numbers_of_processes():
    """The same table as without, no sample twice, none lost, and an image of each."""
    many = ["--data.count", "41", "--model.prior.seconds", "0.04"]  # more than four runs of a quarter second can end
    assert run(*many, output="whole", processes=3) == 0, log()
    dice = random.Random(0)
    seen = [0]
    for i in range(5):
        child = start(*many, processes=1 + i % 3)
        if i % 3:  # the others are killed wherever they are, mostly before their first batch
            more_records_than(seen[-1])
        time.sleep(dice.uniform(0, 0.25))
        kill(child)
        seen.append(count())
    assert run(*many, processes=2) == 0, log()
    assert seen == sorted(seen) and len(set(seen)) > 3 and seen[-1] < 21, "the run was killed at several places"
    assert ids() == ids("whole") and metrics()["duplicates"] == 0
    assert close(metrics(), metrics("whole"))
    for level in ("0", "50", "measurement"):
        names = {path.name for path in Path("whole/images", level).iterdir()}
        assert names == {path.name for path in Path("run/images", level).iterdir()}
    assert not list(Path("run").rglob(".*.part*"))


def test_a_run_that_is_done_has_nothing_left_to_do():
    assert run("--data.limit", "3") == 0
    before = {path: path.stat().st_mtime_ns for path in Path("run").rglob("*/*.p*")}
    assert run("--data.limit", "3", "--data.batch_size", "1") == 0
    assert before == {path: path.stat().st_mtime_ns for path in Path("run").rglob("*/*.p*")}
    assert "resuming run: 3 samples are done" in log()


def test_the_second_of_two_runs_on_one_directory_is_refused():
    child = start("--model.prior.seconds", "0.1", "--data.limit", "4", "--model.estimator.num_steps", "400")
    while not Path("run/config.yaml").is_file():
        time.sleep(0.05)
    same = ["--data.limit", "4", "--model.prior.seconds", "0.1", "--model.estimator.num_steps", "400"]
    assert run(*same) == 2
    assert f"run is being written by another run (process {child} on " in log()
    assert run(*same, "--overwrite") == 2
    assert Path("run/config.yaml").is_file()
    kill(child)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_says_how_to_go_on(number, code):
    child = start("--model.prior.seconds", "0.1", "--data.limit", "6")
    more_records_than(0)
    os.kill(child, number)
    assert wait(child) == code
    done = len(ids())
    assert 2 <= done < 6
    assert f"interrupted; {done} finished samples are kept in run; the same command resumes from there" in log()
    assert run("--model.prior.seconds", "0.1", "--data.limit", "6") == 0
    assert ids() == [f"{i:02d}" for i in range(6)]


def test_merging_at_any_time(capsys):
    child = start("--model.prior.seconds", "0.3")
    more_records_than(0)
    assert main(["merge", "run"]) == 0
    assert "Written:\n  run/metrics.json" in capsys.readouterr().out
    assert 2 <= metrics()["levels"][0]["n"] < 13
    kill(child)
    assert main(["merge", "nowhere"]) == 2
    assert capsys.readouterr().err == "rps: error: there is no run nowhere; give the --output folder of a run\n"


def test_merge_leaves_alone_what_another_recorder_has_merged(capsys):
    """OracleRecorder's figures need the prior; merging the records alone would lose them. An emptied config does not
    matter: the records say all that merging needs."""
    assert run("--data.limit", "2") == 0, log()
    Path("run/config.yaml").write_text("")
    before = Path("run/metrics.json").read_bytes()
    assert main(["merge", "run"]) == 0
    assert Path("run/metrics.json").read_bytes() == before
    RecordWriter("run").write([Row("00", 0, metrics={"oracle_gap": 1.0})], "t0")
    capsys.readouterr()
    assert main(["merge", "run"]) == 2
    assert "the run was compared with exact posteriors" in capsys.readouterr().err
    assert Path("run/metrics.json").read_bytes() == before


def small_disk():
    """A file system of 300 kB in ./small, seen by this process alone; it ends with 77 where that is not allowed."""
    owner, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None)
    if libc.unshare(0x10000000 | 0x00020000):  # CLONE_NEWUSER | CLONE_NEWNS
        os._exit(77)
    Path("/proc/self/setgroups").write_text("deny")
    for kind, own in (("uid", owner), ("gid", group)):
        Path(f"/proc/self/{kind}_map").write_text(f"0 {own} 1")
    os.mkdir("small")
    if libc.mount(b"none", b"small", b"tmpfs", 0, b"size=300k"):
        os._exit(77)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small disk")
def test_a_full_disk_is_one_sentence_and_harms_nothing():
    child = start(
        "--data.count", "40", output="small/run", before=small_disk, after=lambda: shutil.copytree("small/run", "kept")
    )
    if (code := wait(child)) == 77:
        pytest.skip("this system gives no mount namespace")
    assert code == 2, log()
    lines = [line for line in log().splitlines() if line.startswith("rps: ")]
    assert len(lines) == 1 and lines[0].startswith("rps: error: the disk is full")
    kept = ids("kept")
    assert 0 < len(kept) < 40
    assert run("--data.count", "40", output="kept") == 0
    assert ids("kept") == [f"{i:02d}" for i in range(40)]


def test_a_lock_is_free_when_its_process_is_gone(tmp_path):
    lock = RunLock(tmp_path)
    lock.begin()
    with pytest.raises(RunLocked, match=rf"process {os.getpid()} on .*give another --output"):
        RunLock(tmp_path).begin()
    lock.join()
    other = RunLock(tmp_path)
    other.join()
    lock.release()
    with pytest.raises(RunLocked):  # one process of the run still lives
        RunLock(tmp_path).begin()
    other.release()
    if (child := os.fork()) == 0:
        RunLock(tmp_path).begin()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    RunLock(tmp_path).begin(patience=0)


FAILING = [
    "--model.prior.nan_above", "0.3", "--data.count", "30", "--data.broken", "[1,5,6,17,21]", "--data.tiny", "[3]",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_failing_samples_are_records_with_their_reasons(processes):
    """Broken pictures, one of another shape, one that the prior makes NaN of: the others are done."""
    assert run(*FAILING, processes=processes) == 3
    failures = read_records("run").failures()
    assert {failures[f"{i:02d}"] for i in (1, 5, 6, 17, 21)} == {"cannot be read: rotten"}
    assert "1 x 1" in failures["03"]
    bright = sorted(set(failures) - {"01", "03", "05", "06", "17", "21"})
    assert bright and all("not finite" in failures[i] for i in bright) and bright[-1] == "29"
    for level in metrics()["levels"]:
        assert level["n"] + level["failed"] == 30 and level["n"] >= 30 - len(failures)
        assert level["metrics"]["rmse"]["se"] > 0
    assert "samples failed; the others are done" in log()


def test_when_all_samples_fail_alike_the_config_is_told():
    """Before anything was restored: one sentence, and no directory."""
    assert run("--model.operator.refuse_above", "-0.9", "--data.limit", "2", "--data.batch_size", "2") in (1, 2)
    assert "too bright" in log() and not Path("run").exists()


@pytest.mark.slow
def test_an_id_in_the_files_of_two_processes_is_told_at_the_end():
    """Neither process can see that the other has a sample of the same id; one process fails the second of them."""
    twins = ["--data", "tests.resume_fakes.Twins"]
    assert run(*twins, processes=2) == 3, log()
    assert ids() == ["a", "b", "twin"]
    assert "rps: 1 id came more than once (twin), and only one sample of each is kept" in log()
    assert run(*twins, output="one") == 3, log()
    assert ids("one") == ["a", "b", "twin", "twin (repeat 1)"]
    assert read_records("one").failures().keys() == {"twin (repeat 1)"}


def test_pictures_and_features_that_were_removed_are_made_again():
    """Without them the distance of every level would be lost for good."""
    assert run("--data.limit", "5") == 0, log()
    before = metrics()
    Path("run/images/50/03.png").unlink()
    Path("run/images/50/mine.png").write_text("of the user")
    Path("run/grids/rank0_batch00000 (annotated).png").write_text("of the user")
    sorted(Path("run/features").iterdir())[0].unlink()  # of samples 00 and 01
    assert run("--data.limit", "5") == 0, log()
    assert "rps: 3 samples lack pictures or features; they are restored again" in log()
    assert Path("run/images/50/03.png").is_file() and Path("run/images/50/mine.png").is_file()
    after = metrics()
    assert after.pop("duplicates") > before.pop("duplicates") and not after["repeated_ids"]
    assert close(after, before)


def test_a_run_whose_directory_is_removed_ends_with_a_sentence():
    child = start("--model.prior.seconds", "0.1")
    more_records_than(0)
    shutil.rmtree("run")
    assert wait(child) == 1
    assert "the run directory run was removed while the run was writing to it" in log()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--model.operator.refuse_above", "-9"],
        ["--trainer.callbacks", "MetricRecorder", "--metric", "{class_path: Lpips, init_args: {weights: x}}"],
    ],
)
def test_a_run_that_cannot_start_does_not_cost_the_one_that_it_would_replace(wrong):
    """An operator that refuses in on_predict_start, weights that are not there in a callback's setup."""
    assert run("--data.limit", "3") == 0, log()
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file() and path.name != ".lock"}
    assert run("--data.limit", "2", *wrong, "--overwrite") in (1, 2)
    after = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file() and path.name != ".lock"}
    assert after == before
    assert run("--data.limit", "3") == 0, log()


def test_weights_and_data_that_were_replaced_between_two_starts_are_refused(tmp_path, monkeypatch):
    """Under the same names, so that the config is the same: the weights of a prior, and a folder of pictures. Refused
    by all processes of a run."""
    for name in ("here", "there"):
        Path(name, "photos").mkdir(parents=True)
        for file in ("fake.yaml", "log"):
            Path(name, file).write_text(CONFIG if file == "fake.yaml" else "")
        Image.new("L", (8, 8), 90).save(f"{name}/photos/a.png")
    torch.save(torch.ones(1), "weights.pt")
    given = ["--model.prior", "tests.resume_fakes.Weighted", "--model.prior.path", str(tmp_path / "weights.pt")]
    given += ["--data", "ImageFolder", "--data.folder", "photos"]
    monkeypatch.chdir("here")
    assert run(*given, output=str(tmp_path / "run")) == 0, log()
    monkeypatch.chdir("../there")
    assert run(*given, output=str(tmp_path / "run")) == 2
    assert "the data were read from" in log() and "there/photos; restore them" in log()
    monkeypatch.chdir("../here")
    torch.save(2 * torch.ones(1), "../weights.pt")
    assert run(*given, output=str(tmp_path / "run")) == 2
    assert "the model has changed (SHA-256" in log()
    before = count()
    assert run(*given, output=str(tmp_path / "run"), processes=2) == 2
    assert count() == before, "no process has written while another one refused"
    assert log().count("rps: error: the records in") == 2, "once per run, whatever the number of processes"
    torch.save(torch.ones(1), "../weights.pt")
    assert run(*given, output=str(tmp_path / "run")) == 0, log()


def test_a_reference_set_that_was_replaced_between_two_starts_is_refused():
    def reference(scale):
        Statistics.from_features(scale * torch.rand(40, 4), "others", keep=True).save("others.safetensors")

    config = CONFIG.replace(
        "tests.rps.predictions.Blocks}", "tests.rps.predictions.Blocks}, reference: others.safetensors"
    )
    Path("fake.yaml").write_text(config)
    reference(1)
    assert run("--data.limit", "4") == 0, log()
    before = metrics()
    reference(3)
    assert run("--data.limit", "4") == 2
    assert "the reference set has changed (SHA-256" in log() and metrics() == before
    assert main(["merge", "run"]) == 2 and metrics() == before


def test_overwrite_that_restores_nothing_does_not_cost_the_earlier_run():
    """Every sample fails in the first batch, alone or not."""
    assert run("--data.limit", "3") == 0, log()
    before = metrics()
    for size in ("1", "3"):
        bad = ["--model.prior.refuses", "true", "--data.limit", "3", "--data.batch_size", size, "--overwrite"]
        assert run(*bad) in (1, 2, 3), log()
        assert metrics() == before and ids() == ["00", "01", "02"], size
    assert run("--data.limit", "3") == 0, log()
