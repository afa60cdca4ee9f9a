"""Every sample exactly once, for any number of processes and workers; failures are data, not exceptions."""

import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch

from datamodules.base import SampleBatches, SampleDataModule
from tests.trainers import quiet


def constant(value: float, shape: tuple[int, ...] = (1, 2, 2)) -> torch.Tensor:
    return torch.full(shape, value)


def broken() -> torch.Tensor:
    raise OSError("the disk\nis gone")


class Constants(SampleDataModule):
    """Samples "0", "1", ...: pictures of that value. Those named in `bad` cannot be read."""

    def __init__(self, count: int = 7, bad: tuple[int, ...] = (), **options):
        super().__init__(**options)
        self.count = count
        self.bad = bad

    def samples(self):
        return [(str(i), broken if i in self.bad else partial(constant, float(i))) for i in range(self.count)]

    def total(self):
        return self.count


class Echo(L.LightningModule):
    """Writes down which ids each process has seen."""

    def __init__(self, folder: str):
        super().__init__()
        self.folder = folder
        self.seen: list[str] = []

    def predict_step(self, batch, batch_idx):
        assert len(batch["id"]) == len(batch["image"])
        assert [str(int(image[0, 0, 0])) for image in batch["image"]] == batch["id"]
        self.seen += batch["id"] + [name for name, _ in batch["failed"]]
        return batch["id"]

    def on_predict_end(self):
        Path(self.folder, f"{self.global_rank}.json").write_text(json.dumps(self.seen))


@pytest.mark.parametrize("world", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 4, 7])
def test_each_sample_belongs_to_one_process(world, count):
    samples = Constants(count).samples()
    seen = [
        name
        for rank in range(world)
        for batch in SampleBatches(samples, 2, process=(rank, world))
        for name in batch["id"]
    ]
    assert Counter(seen) == Counter(str(i) for i in range(count))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_make_the_same_batches(workers):
    alone = [b["id"] for b in Constants(7, batch_size=2).predict_dataloader()]
    many = [b["id"] for b in Constants(7, batch_size=2, num_workers=workers).predict_dataloader()]
    assert sorted(alone) == sorted(many) == [["0", "1"], ["2", "3"], ["4", "5"], ["6"]]


@pytest.mark.parametrize("distributed_sampler", [True, False])
def test_lightning_predict_in_one_process(tmp_path, distributed_sampler):
    data = Constants(5, bad=(1,), batch_size=2)
    predictions = quiet(default_root_dir=tmp_path, use_distributed_sampler=distributed_sampler).predict(
        Echo(str(tmp_path)), data
    )
    assert predictions == [["0"], ["2", "3"], ["4"]]
    assert json.loads((tmp_path / "0.json").read_text()) == ["0", "1", "2", "3", "4"]


@pytest.mark.skipif(sys.platform != "linux", reason="starts processes by fork")
@pytest.mark.parametrize(("count", "workers"), [(5, 0), (1, 0), (5, 2)])
def test_lightning_predict_in_two_processes(tmp_path, count, workers):
    """With one sample, one of the processes gets none."""
    data = Constants(count, batch_size=2, num_workers=workers)
    two = quiet(default_root_dir=tmp_path, strategy="ddp_fork", devices=2)
    two.predict(Echo(str(tmp_path)), data, return_predictions=False)
    seen = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert [sorted(ids) for ids in seen] == [[str(i) for i in range(rank, count, 2)] for rank in range(2)]


def test_what_cannot_be_read_is_told_and_the_others_are_there():
    batches = list(Constants(4, bad=(0, 3), batch_size=4).predict_dataloader())
    assert [b["id"] for b in batches] == [["1", "2"]]
    assert batches[0]["failed"] == [
        ("0", "cannot be read: the disk is gone"),
        ("3", "cannot be read: the disk is gone"),
    ]


def test_a_batch_in_which_nothing_could_be_read():
    (batch,) = Constants(2, bad=(0, 1)).predict_dataloader()
    assert batch["id"] == [] and batch["image"].shape[0] == 0 and len(batch["failed"]) == 2


def test_pictures_of_different_shapes_never_share_a_batch():
    shapes = [(1, 2, 2), (1, 3, 3), (1, 2, 2), (1, 3, 3), (1, 3, 3)]
    samples = [(str(i), partial(constant, float(i), shape)) for i, shape in enumerate(shapes)]
    assert [b["id"] for b in SampleBatches(samples, 4)] == [["0", "2"], ["1", "3"], ["4"]]


def test_skip_and_limit():
    data = Constants(10, skip=3, limit=4, batch_size=3)
    assert [b["id"] for b in data.predict_dataloader()] == [["3", "4", "5"], ["6"]]
    assert data.num_samples == 4
    assert Constants(10, skip=8, limit=4).num_samples == 2
    with pytest.raises(ValueError, match="skip must be less than the number of samples, 10, got 10"):
        Constants(10, skip=10).setup("predict")


@pytest.mark.parametrize(("option", "value"), [("batch_size", 0), ("num_workers", -1), ("limit", 0), ("skip", -1)])
def test_impossible_numbers(option, value):
    with pytest.raises(ValueError, match=f"{option} must be at least"):
        Constants(**{option: value})


class Files:
    """A stream in shards: shard s has the samples "s-0" .. of one value; counts what is opened."""

    def __init__(self, sizes):
        self.sizes, self.num_shards, self.opened = sizes, len(sizes), []

    def shard(self, index):
        self.opened.append(index)
        return iter([(f"{index}-{i}", partial(constant, float(index))) for i in range(self.sizes[index])])

    def __iter__(self):
        return (sample for index in range(self.num_shards) for sample in self.shard(index))


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6])
def test_shards_are_split_whole_where_there_are_enough(world):
    """With 5 processes or fewer each shard is opened by one of them; with 6, all read all."""
    sizes, seen, opened = [2, 0, 3, 1, 2], [], []
    for rank in range(world):
        samples = Files(sizes)
        seen += [name for batch in SampleBatches(samples, 2, process=(rank, world)) for name in batch["id"]]
        opened += samples.opened
    assert Counter(seen) == Counter(f"{shard}-{i}" for shard, size in enumerate(sizes) for i in range(size))
    assert sorted(opened) == sorted(list(range(5)) * (1 if world < 6 else world))


def test_done_samples_are_not_read_and_the_others_are_dealt_out_evenly():
    """Those that are done cannot even be read here."""
    samples = Constants(6, bad=(0, 2)).samples()
    seen = [
        (batch["id"], batch["failed"])
        for rank in range(2)
        for batch in SampleBatches(samples, 2, process=(rank, 2), skip_ids={"0", "2"})
    ]
    assert seen == [(["1", "4"], []), (["3", "5"], [])]
    data = Constants(7, bad=(0,), batch_size=2, num_workers=2)
    data.skip_ids = {"0", "3"}
    assert sorted(b["id"] for b in data.predict_dataloader()) == [["1", "2"], ["4", "5"], ["6"]]


def test_samples_that_lack_different_levels_share_no_batch():
    """Nor do those that cannot be read: their failures are recorded at the levels that they lack."""
    samples = Constants(6, bad=(1, 4)).samples()
    left = {"0": (5,), "1": (5,), "3": (7, 5)}
    batches = list(SampleBatches(samples, 6, levels_left=left))
    assert [(b["id"], [name for name, _ in b["failed"]]) for b in batches] == [
        (["0"], ["1"]), (["2", "5"], ["4"]), (["3"], []),
    ]  # fmt: skip


def test_samples_by_their_ids_wherever_they_are():
    """Whatever limit and skip say; the stream ends with the last of them."""

    def stream():
        yield from Constants(5).samples()
        raise AssertionError("read on")

    data = Constants(9, limit=2, skip=1, batch_size=2)
    data.samples = stream
    data.only_ids = {"0", "2", "4"}
    assert [b["id"] for b in data.predict_dataloader()] == [["0", "2"], ["4"]] and data.num_samples == 3
    data.skip_ids = {"2"}
    data.samples = Constants(9).samples
    assert [b["id"] for b in data.predict_dataloader()] == [["0", "4"]]


def test_captions_and_labels_stay_with_their_pictures():
    """Through failures and different shapes."""
    small, large = partial(constant, 0.0), partial(constant, 0.0, (1, 3, 3))
    pictures = {"a": small, "b": broken, "c": large, "d": small}
    samples = [(name, read, {"caption": name.upper(), "label": k}) for k, (name, read) in enumerate(pictures.items())]
    batches = list(SampleBatches(samples, 4))
    assert [(b["id"], b["caption"], b["label"]) for b in batches] == [
        (["a", "d"], ["A", "D"], [0, 3]), (["c"], ["C"], [2]),
    ]  # fmt: skip
    bare = next(iter(SampleBatches(Constants(1).samples(), 1)))
    assert "caption" not in bare and "label" not in bare


@pytest.mark.parametrize("world", [1, 2])
def test_a_second_sample_of_an_id_fails_and_takes_nothing_with_it(world):
    """Also when the first is done already; and its own id is nobody else's."""
    samples = [*Constants(2).samples(), *Constants(3).samples(), ("0 (repeat 1)", partial(constant, 9.0))]
    batches = [b for rank in range(world) for b in SampleBatches(samples, 2, process=(rank, world))]
    assert sorted(name for b in batches for name in b["id"]) == ["0", "1", "2"]
    failed = dict(pair for b in batches for pair in b["failed"])
    assert set(failed) == {"0 (repeat 1)", "1 (repeat 1)", "0 (repeat 1) (repeat 1)"}
    assert failed["1 (repeat 1)"].startswith("another sample has the id '1'")
    (batch,) = SampleBatches(samples, 9, skip_ids={"0", "1", "2", "0 (repeat 1) (repeat 1)"})
    assert batch["id"] == [] and {name for name, _ in batch["failed"]} == {"0 (repeat 1)", "1 (repeat 1)"}
