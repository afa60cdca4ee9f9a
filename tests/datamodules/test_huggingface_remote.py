"""Data sets on a server that fails."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import pytest
import torch

from datamodules import rows
from rps.pictures.reading import read_picture
from tests.datamodules.hub_data import archive, data, encoded, greys, pictures_of, read
from tests.datamodules.loopback import serving


def test_a_name_that_repeats_in_remote_files(tmp_path, impatient):
    """Columns of parquet are read ahead where several readers share the files; else the second sample fails."""
    parquet_files = pictures_of(tmp_path, "parquet", ["a.png"], ["a.png"])
    tars = pictures_of(tmp_path, "webdataset", ["a.png"], ["a.png"])
    with serving({Path(file).name: Path(file).read_bytes() for file in parquet_files + tars}) as server:
        urls = [server.url(f"{i}.parquet") for i in range(2)]
        with pytest.raises(ValueError, match=r"two samples in .* have the id 'a'"):
            data(data_files=urls, process=(0, 2))
        for form, addresses in (("parquet", urls), ("webdataset", [server.url(f"{i}.tar") for i in range(2)])):
            found = read(data(form, data_files=addresses))
            assert set(found) == {"a", "a (repeat 1)"} and "another sample has the id 'a'" in found["a (repeat 1)"]


FAULTS = ["drop", "500", "cut", None, "500", "500", "drop", None, "cut", "drop", "500", None, "cut", "cut", "500"] * 2


@pytest.mark.parametrize("own", [1, 20])
def test_a_failing_server_gives_the_samples_of_the_local_files(shards, impatient, monkeypatch, own):
    """With the repetitions of datasets itself (20), and without (1), when all is left to us."""
    monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", own)
    local = read(data(data_files=shards, id_column="name"))
    with serving({f"{i}.parquet": open(file, "rb").read() for i, file in enumerate(shards)}) as server:
        server.faults = list(FAULTS)
        far = read(data(data_files=[server.url(f"{i}.parquet") for i in range(7)], id_column="name"))
    assert list(far) == list(local) and all(torch.equal(far[name], local[name]) for name in local)
    assert {fault for _, fault in server.failed} == {"drop", "500", "cut"} and not server.faults


def test_a_fault_within_a_file_loses_and_repeats_nothing(impatient, monkeypatch):
    """An archive of 3 MB, which is read in one long answer; the first two end halfway."""
    monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", 2)
    monkeypatch.setattr(rows, "BLOCK", 1)
    names = [str(i) for i in range(12)]
    with serving({"a.tar": archive({f"{i}.bmp": encoded(i, size=512, noise=True) for i in range(12)})}) as server:
        samples = data("webdataset", data_files=server.url("a.tar"), attempts=3).samples()
        server.faults = [None, "cut", None, "cut"]
        read_at = []
        for name, picture in samples:
            assert torch.equal(picture(), read_picture(io.BytesIO(encoded(int(name), size=512, noise=True)), 1, (4, 4)))
            read_at.append((name, len(server.failed)))
    assert [name for name, _ in read_at] == names
    assert 3 <= sum(failed < 2 for _, failed in read_at) <= 6, "the first half came before the faults were over"
    assert [fault for _, fault in server.failed] == ["cut", "cut"]


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_read_only_their_files(shards, impatient, workers):
    names = [f"{i}.parquet" for i in range(7)]
    read_by = []
    with serving({name: open(file, "rb").read() for name, file in zip(names, shards, strict=True)}) as server:
        for rank in range(2):
            module = data(
                data_files=[server.url(name) for name in names],
                process=(rank, 2),
                num_workers=workers,
                id_column="name",
            )
            server.gets.clear()
            samples = read(module)
            read_by.append((set(server.gets), set(samples)))
    assert not read_by[0][0] & read_by[1][0] and read_by[0][0] | read_by[1][0] == set(names)
    assert not read_by[0][1] & read_by[1][1] and len(read_by[0][1] | read_by[1][1]) == 17


def test_tar_archives_and_single_pictures_from_a_failing_server(impatient):
    tar = archive({f"{i}.png": encoded(i) for i in range(5)})
    files = {"a.tar": tar, **{f"{i}.png": encoded(i) for i in range(3)}}
    with serving(files) as server:
        server.faults = ["500", "drop", None, None, "cut", "drop"]
        samples = read(data("webdataset", data_files=server.url("a.tar")))
        assert greys(samples) == {str(i): i for i in range(5)} and not server.faults
        module = data("imagefolder", data_files=[server.url(f"{i}.png") for i in range(3)])
        server.faults = ["drop", "500"]
        assert greys(read(module)) == {str(i): i for i in range(3)} and not server.faults
        server.always = {"1.png": "404"}
        samples = read(module)
        assert set(greys({name: samples.pop(name) for name in "02"})) == {"0", "2"} and "1.png" in samples["1"]


@pytest.mark.parametrize("fault", ["500", "drop", "cut"])
def test_a_server_that_stays_down_is_named(shards, impatient, monkeypatch, fault):
    """Address, attempts and the last fault; the samples before it have been read."""
    monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", 2)
    with serving({f"{i}.parquet": open(file, "rb").read() for i, file in enumerate(shards[:3])}) as server:
        module = data(data_files=[server.url(f"{i}.parquet") for i in range(3)], id_column="name", attempts=3)
        server.always = {"2.parquet": fault}
        samples = iter(module.samples())
        assert [next(samples)[0] for _ in range(4)] == ["r0", "r1", "r2", "r3"]
        with pytest.raises(
            OSError, match=rf"{server.url('2.parquet')} could not be read in 3 attempts, the last .*: \S"
        ):
            next(samples)


def test_a_file_that_is_not_there_is_not_asked_for_again(impatient):
    with serving({}) as server:
        with pytest.raises(FileNotFoundError, match=r"nothing\.parquet"):
            data(data_files=server.url("nothing.parquet"))
        assert len(server.gets) < 6
