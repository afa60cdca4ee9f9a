"""The callbacks in a user's own Trainer, with a module that restores nothing."""

import json
import multiprocessing
import types
from itertools import pairwise
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

from rps.callbacks import GridWriter, ImageWriter, MetricRecorder, ProgressBar
from rps.metrics import Statistics, as_saved
from rps.pictures import deep_png
from rps.progress import silent
from rps.protocol import RunData, RunModule
from rps.records import RecordWriter, Row, read_records, recorded_ids
from rps.records.files import picture_file
from rps.report import pixels, read_saved
from rps.report.pictures import deep_pixels
from tests.rps.predictions import LEVELS, Blocks, clean_images, prediction
from tests.trainers import quiet

ROOT = Path(__file__).parent.parent.parent
BATCHES = [["a", "b", "c"], ["d", "e"], ["f"]]


class Restorer(L.LightningModule, RunModule):
    """A batch is a list of ids; "!" among them raises, "?" is a failure. Three network calls per image."""

    def __init__(self, **options):
        super().__init__()
        self.options = options

    knob, levels = "t0", LEVELS

    def network_calls_per_image(self):
        return 3

    def predict_step(self, batch, batch_idx):
        if "!" in batch:
            raise self.options["error"]
        good = [id_ for id_ in batch if id_ != "?"]
        for _ in range(3):
            self.progress("restoring", len(good))
        options = {name: value for name, value in self.options.items() if name != "error"}
        return prediction(good, failures={id_: "cannot be read" for id_ in batch if id_ == "?"}, **options)


def run(callbacks, batches=BATCHES, root=None, module=None, **options):
    bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
    trainer = quiet(callbacks=callbacks, default_root_dir=root, enable_progress_bar=bar)
    module = module or Restorer(**options)
    trainer.predict(module, DataLoader(batches, batch_size=None), return_predictions=False)
    return module


def metrics(folder) -> dict:
    return json.loads((Path(folder) / "metrics.json").read_text())


def test_a_whole_run(tmp_path):
    """In whatever order the callbacks stand; everything under the trainer's default_root_dir."""
    run([MetricRecorder(features=Blocks()), GridWriter(), ImageWriter()], root=tmp_path)
    result = metrics(tmp_path)
    assert [(level["level"], level["n"]) for level in result["levels"]] == [(level, 6) for level in LEVELS]
    assert {"rmse", "psnr", "ssim", "consistency", "frechet"} <= set(result["levels"][0]["metrics"])
    assert result["pseudo_inverse"]["n"] == 6
    assert (tmp_path / "table.md").read_text().replace(" ", "").startswith("|t0|n|failed|RMSE|")
    assert (tmp_path / "dp_curve.png").stat().st_size > 0
    assert "images/measurement" in (tmp_path / "report.html").read_text()
    assert len(list((tmp_path / "records").iterdir())) == len(list((tmp_path / "features").iterdir())) == 3
    assert sorted(p.name for p in (tmp_path / "grids").iterdir()) == [f"rank0_batch{i:05d}.png" for i in range(3)]
    folders = {*map(str, LEVELS), "measurement", "reference"}
    assert {p.name for p in (tmp_path / "images").iterdir()} == folders
    for folder in folders:
        assert sorted(p.stem for p in (tmp_path / "images" / folder).iterdir()) == list("abcdef")


def test_output_of_a_callback_goes_before_the_trainers_folder(tmp_path):
    run([MetricRecorder(output=str(tmp_path / "here"))], root=tmp_path / "there")
    assert metrics(tmp_path / "here")["levels"][0]["n"] == 6
    assert not (tmp_path / "there").exists()


def test_images_are_what_the_metrics_are_of(tmp_path):
    run([ImageWriter()], [["a", "b"]], tmp_path, channels=3)
    saved = np.asarray(Image.open(tmp_path / "images" / "50" / "b.png"))
    assert np.array_equal(saved, pixels(as_saved(0.8 * clean_images(["b"], 3))[0]))
    clean = np.asarray(Image.open(tmp_path / "images" / "reference" / "b.png"))
    assert np.array_equal(clean, pixels(as_saved(clean_images(["b"], 3))[0]))


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("form", ["png", "png16", "webp"])
def test_every_format_holds_what_the_metrics_are_of(tmp_path, form, channels):
    """To the last bit; 16 bits also hold the image to within half of 1 / 65535."""
    run([ImageWriter(format=form)], [["a", "b"]], tmp_path, channels=channels)
    image = 0.8 * clean_images(["b"], channels)[0]
    path = picture_file(tmp_path / "images" / "50", "b")
    assert path.suffix == (".webp" if form == "webp" else ".png")
    assert torch.equal(read_saved(path, image.shape), as_saved(image))
    if form == "png16":
        full = deep_png.decode(path.read_bytes())
        full = torch.stack(full[0].split(16, dim=1)) if channels == 2 else full
        assert (full.double() - (image.double() + 1) / 2).abs().max() <= 0.501 / 65535


def test_16_bits_rounded_to_8_are_the_8_bits_also_between_two_values():
    """Where 8 bits have to choose, and beside it by the last bit of a float."""
    half = (torch.arange(255) + 0.5) / 255 * 2 - 1
    near = torch.cat(
        [half, *(half.nextafter(torch.full_like(half, far)) for far in (-2, 2)), torch.tensor([-3.0, 3.0])]
    )
    image = near.view(1, 1, -1)
    deep = deep_pixels(image)
    assert np.array_equal((deep.astype(int) + 128) // 257, pixels(as_saved(image)))
    assert np.abs(deep - 65535 * (near.double().clamp(-1, 1).numpy() + 1) / 2).max() <= 0.51


def test_a_format_that_changes_pixels_is_refused():
    with pytest.raises(ValueError, match=r"format must be png, png16 .* or webp .*, got 'jpeg'; metrics describe"):
        ImageWriter(format="jpeg")


def test_an_image_that_is_not_finite_is_not_written(tmp_path):
    run([ImageWriter(), MetricRecorder()], [["a", "b"]], tmp_path, broken=((50, "b"),))
    assert [p.name for p in (tmp_path / "images" / "50").iterdir()] == ["a.png"]
    assert read_records(tmp_path).failures() == {"b": "the image at level 50 has values that are not finite"}


def test_no_id_leads_out_of_the_directory(tmp_path):
    ids = ["../../out", "..", "/etc/passwd", "", "x" * 400, "a/b", "a%2Fb"]
    run([ImageWriter(), MetricRecorder()], [ids], tmp_path / "run")
    written = list(tmp_path.rglob("*.png"))
    assert len(written) == len(ids) * (len(LEVELS) + 2)
    assert {p.parent.parent for p in written} == {tmp_path / "run" / "images"}
    assert set(read_records(tmp_path / "run").rows["restored", 0]) == set(ids)


def test_batches_in_which_nothing_could_be_read(tmp_path):
    callbacks = [MetricRecorder(features=Blocks()), ImageWriter(), GridWriter()]
    run(callbacks, [["?"], ["a", "b"]], tmp_path)
    level = metrics(tmp_path)["levels"][0]
    assert (level["n"], level["failed"]) == (2, 1)
    assert [p.name for p in (tmp_path / "grids").iterdir()] == ["rank0_batch00001.png"]


def test_restoration_without_references(tmp_path, capsys):
    run(
        [MetricRecorder(features=Blocks()), ImageWriter(), GridWriter()],
        root=tmp_path,
        with_reference=False,
    )
    assert set(metrics(tmp_path)["levels"][0]["metrics"]) == {"consistency", "residual_rms"}
    assert "reference" not in metrics(tmp_path)
    assert "a distortion-perception curve needs a level with RMSE" in capsys.readouterr().out
    assert not (tmp_path / "dp_curve.png").exists()


@pytest.mark.parametrize("error", [RuntimeError("diverged"), KeyboardInterrupt()])
def test_an_interrupted_run_keeps_and_merges_what_is_done(tmp_path, error):
    """Lightning ends a process after Ctrl-C."""
    with pytest.raises((RuntimeError, SystemExit)):
        run([MetricRecorder(features=Blocks()), ProgressBar()], [["a", "b"], ["!"]], tmp_path, error=error)
    assert metrics(tmp_path)["levels"][0]["n"] == 2
    assert (tmp_path / "table.md").is_file()


def test_an_error_before_the_first_batch_leaves_no_trace(tmp_path):
    with pytest.raises(ValueError, match="bad"):
        run([MetricRecorder()], [["!"]], tmp_path / "run", error=ValueError("bad"))
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_where_records_end(tmp_path):
    """Samples with a record at every level are named to the module; the merge is over old and new ones."""
    run([MetricRecorder(), GridWriter(), ImageWriter()], [["a", "b"]], tmp_path)
    RecordWriter(tmp_path).write([Row("half", LEVELS[0])], "t0")
    recorder = MetricRecorder()
    module = run([recorder, GridWriter(), ImageWriter()], [["c"], ["half"]], tmp_path)
    assert module.skip_ids == {"a", "b"}
    assert [level["n"] for level in metrics(tmp_path)["levels"]] == [4, 4, 4]
    assert metrics(tmp_path)["duplicates"] == 1  # "half" at its first level
    assert sorted(p.name for p in (tmp_path / "grids").iterdir()) == [f"rank0_batch{i:05d}.png" for i in range(3)]


def test_failed_samples_are_done_unless_they_are_to_be_tried_again(tmp_path):
    run([MetricRecorder()], [["a", "b", "?"]], tmp_path, broken=((50, "b"),))
    assert run([MetricRecorder()], [["c"]], tmp_path).skip_ids == {"a", "b", "?"}
    again = run([MetricRecorder(retry_failed=True)], [["b"]], tmp_path)
    assert again.skip_ids == {"a", "c"} and again.levels_left == {"b": (50,)}
    assert read_records(tmp_path).failures() == {"?": "cannot be read"}


class Named(L.LightningDataModule, RunData):
    """Batches "a" and "b" of samples that were asked for by name."""

    wanted_ids = frozenset()

    def __init__(self, wanted):
        super().__init__()
        self.wanted_ids = frozenset(wanted)

    def predict_dataloader(self):
        return DataLoader([["a"], ["b"]], batch_size=None)


def test_a_sample_that_was_asked_for_and_is_not_there_is_a_failure(tmp_path):
    """Told when all has been read, once, and not after a run that was cut short."""

    def again(wanted, **options):
        trainer = quiet(callbacks=[MetricRecorder()], default_root_dir=tmp_path, **options)
        trainer.predict(Restorer(), datamodule=Named(wanted), return_predictions=False)

    again(["a", "nobody"], limit_predict_batches=1)
    assert read_records(tmp_path).failures() == {}
    for _ in range(2):
        again(["a", "nobody"])
        assert read_records(tmp_path).failures() == {"nobody": "the data have no sample with this id"}
        assert [(level["n"], level["failed"]) for level in metrics(tmp_path)["levels"]] == [(2, 1)] * 3
    assert len([row for row in read_records(tmp_path).rows["restored", 0] if row == "nobody"]) == 1
    assert recorded_ids(tmp_path) == {"a", "b"}, "another choice of samples need not have it"


def test_a_record_is_written_after_everything_else_of_its_sample(tmp_path):
    """Whatever a callback does for a batch has been done when there is a record of it, or will be done again."""

    class Late(L.Callback):
        def on_predict_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
            if batch_idx == 1:
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        run([MetricRecorder(), ImageWriter(), Late()], [["a"], ["b"]], tmp_path)
    assert set(read_records(tmp_path).rows["restored", 0]) == {"a"}
    assert (tmp_path / "images" / "0" / "b.png").is_file()


def test_reference_statistics(tmp_path):
    features = Blocks()(as_saved(clean_images(["x", "y", "z"])))
    Statistics.from_features(features, "three others").save(tmp_path / "three.safetensors")
    run([MetricRecorder(features=Blocks(), reference=str(tmp_path / "three.safetensors"))], root=tmp_path / "run")
    assert metrics(tmp_path / "run")["reference"]["metrics"]["frechet"]["reference"]["images"] == "three others"
    Statistics.from_features(torch.rand(9, 5)).save(tmp_path / "five.safetensors")
    with pytest.raises(ValueError, match="has 5 features but quarters has 4"):
        run([MetricRecorder(features=Blocks(), reference=str(tmp_path / "five.safetensors"))], root=tmp_path / "other")
    with pytest.raises(ValueError, match="needs a feature network"):
        MetricRecorder(reference="some.safetensors")


def test_a_feature_network_that_does_not_fit_is_told_before_the_first_batch(tmp_path):
    from rps.metrics import EmbeddedFeatures

    module = type("Coloured", (Restorer,), {"image_shape": (3, 16, 16)})(channels=3)
    with pytest.raises(ValueError, match="takes 1"):
        run([MetricRecorder(features=EmbeddedFeatures())], [["!"]], tmp_path, module)


def test_a_module_that_returns_something_else(tmp_path):
    class Other(L.LightningModule):
        def predict_step(self, batch, batch_idx):
            return torch.zeros(1)

    with pytest.raises(TypeError, match=r"returns an rps\.restoration\.Prediction, got Tensor"):
        run([MetricRecorder()], root=tmp_path, module=Other())


def test_grids_are_as_many_as_asked_for(tmp_path):
    run([GridWriter(max_samples=1, every_n_batches=2, max_grids=2)], [["a", "b"]] * 7, tmp_path)
    assert sorted(p.name for p in (tmp_path / "grids").iterdir()) == ["rank0_batch00000.png", "rank0_batch00002.png"]
    with pytest.raises(ValueError, match="max_samples must be at least 1, got 0"):
        GridWriter(max_samples=0)


# ----------------------------------------------------------------------------------------------------- progress


class Data(L.LightningDataModule, RunData):
    """Seven samples at most, of which six come."""

    num_samples = 7

    def predict_dataloader(self):
        return DataLoader([["a", "b", "c"], ["?", "e"], ["f"]], batch_size=None)


def progress(module, **data) -> L.LightningModule:
    quiet(callbacks=[ProgressBar(every=0)], enable_progress_bar=True).predict(module, return_predictions=False, **data)
    return module


def test_lines_of_progress_get_rarer(capsys, monkeypatch):
    """5 seconds apart at first, and 20 after a thousand."""
    clock = [0.0]
    monkeypatch.setattr("rps.callbacks.progress_bar.time.monotonic", lambda: clock[0])
    bar, module = ProgressBar(), Restorer()
    trainer = types.SimpleNamespace(is_global_zero=True, world_size=1, datamodule=Data(), limit_predict_batches=1.0)
    bar.on_predict_start(trainer, module)
    seconds = []
    for second in range(0, 1200):
        clock[0] = float(second)
        module.progress("restoring", 1)
        if capsys.readouterr().out:
            seconds.append(second)
    assert seconds[:40] == list(range(5, 205, 5))
    assert all(now / 50 <= now - before <= now / 50 + 1 for before, now in pairwise(seconds) if now > 250)


def test_progress_moves_with_network_calls(capsys):
    module = progress(Restorer(), datamodule=Data())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("restoring: 0/7 images, 3/21 network calls, 0:00, about 0:0")
    assert lines[3].startswith("restoring: 3/7 images, 9/21 network calls")
    assert lines[6].startswith("restoring: 3/7 images, 12/21 network calls")
    assert lines[7].startswith("restoring: 4/6 images, 12/18 network calls")  # one of them could not be read
    assert lines[-1] == "5/5 images, 15/15 network calls in 0:00"
    assert module.progress is silent


def test_progress_of_pictures_of_any_size_has_a_total(capsys):
    module = Restorer()
    module.any_size = True
    progress(module, datamodule=Data())
    assert capsys.readouterr().out.splitlines()[-1] == "5/5 images, 15/15 network calls for each tile in 0:00"


def test_progress_of_a_stream_has_no_total(capsys):
    progress(Restorer(), dataloaders=DataLoader(BATCHES, batch_size=None))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "restoring: 0 images, 3 network calls, 0:00"


def test_progress_knows_the_length_of_a_data_set(capsys):
    progress(Restorer(), dataloaders=DataLoader(["a", "b", "c"], batch_size=2))
    assert "/3 images, 2/9 network calls" in capsys.readouterr().out.splitlines()[0]


def test_progress_in_a_terminal_is_a_bar(capsys, monkeypatch):
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "140", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    progress(Restorer(), datamodule=Data())
    shown = capsys.readouterr().out
    assert "restoring" in shown and "━" in shown and "15/15 network calls" in shown


def test_progress_of_a_module_that_says_nothing(capsys):
    class Quiet(L.LightningModule):
        def predict_step(self, batch, batch_idx):
            return prediction(batch)

    progress(Quiet(), dataloaders=DataLoader(BATCHES, batch_size=None))
    assert "6/6 images, 0 network calls in" in capsys.readouterr().out


# ---------------------------------------------------------------------------------------------------- processes


class Unequal(IterableDataset):
    """Three batches for the first of two processes, one for the second."""

    def __iter__(self):
        yield from [["a", "b"], ["c"], ["d"]] if torch.distributed.get_rank() == 0 else [["e", "f", "?"]]


def predict_in_two_processes(folder: Path) -> None:
    torch.cuda._is_in_bad_fork = lambda: False  # the tests before may have asked for devices; these run on the CPU
    callbacks = [MetricRecorder(features=Blocks()), ImageWriter(), GridWriter(), ProgressBar()]
    trainer = quiet(
        devices=2, strategy="ddp_fork", callbacks=callbacks, default_root_dir=folder, enable_progress_bar=True,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.predict(Restorer(), DataLoader(Unequal(), batch_size=None), return_predictions=False)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_processes_with_unequal_batches_agree_with_one(tmp_path):
    """No process waits for another before the end."""
    both = multiprocessing.get_context("fork").Process(target=predict_in_two_processes, args=(tmp_path / "two",))
    both.start()
    both.join(110)
    assert both.exitcode == 0
    run([MetricRecorder(features=Blocks())], [["f", "e", "d", "c", "b", "a", "?"]], tmp_path / "one")
    two, one = metrics(tmp_path / "two"), metrics(tmp_path / "one")
    assert (two["levels"][0]["n"], two["levels"][0]["failed"]) == (6, 1)
    for result in (one, two):
        for level in result["levels"]:
            level.pop("seconds_per_image")
    assert one == two
    assert sorted(p.name for p in (tmp_path / "two" / "grids").iterdir()) == [
        *(f"rank0_batch{i:05d}.png" for i in range(3)),
        "rank1_batch00000.png",
    ]
    assert sorted(p.stem for p in (tmp_path / "two" / "images" / "0").iterdir()) == list("abcdef")
