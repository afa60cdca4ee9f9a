"""What samples of a data set are called, and names that repeat or have changed their meaning since a run began."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datamodules.hub_data import data, encoded, parquet, pictures_of, read
from tests.datamodules.loopback import serving


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("form", ["parquet", "arrow", "webdataset"])
def test_a_name_that_repeats_across_files_is_refused_before_computing(tmp_path, form, world, workers):
    """Of "a" in two files, one would vanish. With a limit, only what lies within it counts."""
    files = pictures_of(tmp_path, form, ["a.png", "b.png"], ["c.png", "a.png"])
    for rank in range(world):
        with pytest.raises(ValueError, match=r"two samples in .*0\..* and .*1\..* have the id 'a', .*; give a column"):
            data(form, data_files=files, process=(rank, world), num_workers=workers)
    options = {"data_files": files, "num_workers": workers}
    assert sorted(name for r in range(world) for name in read(data(form, process=(r, world), limit=3, **options))) == [
        "a", "b", "c",
    ]  # fmt: skip
    parts = [read(data(form, process=(r, world), id_from="index", **options)) for r in range(world)]
    assert sorted(name for part in parts for name in part) == ["0-0", "0-1", "1-0", "1-1"]


def test_a_name_that_repeats_outside_the_subset_is_no_matter(tmp_path):
    files = pictures_of(tmp_path, "parquet", ["a.png", "b.png"], ["c.png", "a.png"])
    assert sorted(read(data(data_files=files, subset=["b", "c"]))) == ["b", "c"]
    with pytest.raises(ValueError, match=r"two samples in .* have the id 'a'"):
        data(data_files=files, subset=["a", "c"])


def test_a_null_row_is_a_failed_sample(tmp_path):
    """Under an id that no file has; so is one without a value in the id column."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = [{"bytes": encoded(i), "path": f"{i}.png"} for i in range(3)]
    table = pa.table({"image": pa.array([images[0], None, images[1]], kind), "name": ["x", "y", None]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = read(data(data_files=str(tmp_path / "a.parquet")))
    assert set(found) == {"0", "1", "row:0-1"} and found["row:0-1"] == "cannot be read: the row contains no image"
    found = read(data(data_files=str(tmp_path / "a.parquet"), id_column="name"))
    assert set(found) == {"x", "y", "row:0-2"} and "has no value in column 'name' to be named by" in found["row:0-2"]


def test_ids_that_change_their_meaning_are_refused_when_a_run_resumes(tmp_path):
    """A picture beside another of the same name, gone or new; a second file, which changes an index."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(1))
    folder = {"path": "imagefolder", "data_dir": str(tmp_path)}
    data(**folder).check_recorded({"a", "b", "a (repeat 1)"})
    with pytest.raises(
        ValueError, match="the run has records of 'another', which data set 'imagefolder' no longer has"
    ):
        data(**folder).check_recorded({"a", "another"})
    with pytest.raises(ValueError, match=r"a record of 'a\.png', but a\.png of .* now has the id 'a'"):
        data(**folder).check_recorded({"a.png", "a.jpg"})
    (tmp_path / "a.jpg").write_bytes(encoded(1))
    with pytest.raises(ValueError, match=r"a record of 'a', but a\.(jpg|png) of .* now has the id 'a\..*'"):
        data(**folder).check_recorded({"a"})
    data(**folder, subset=["a"]).check_recorded({"a"})  # was recorded as missing
    files = pictures_of(tmp_path, "parquet", ["a.png"], ["b.png"])
    data(data_files=files, id_from="index").check_recorded({"0-0"})
    with pytest.raises(ValueError, match="records of one file by index, but data set 'parquet' now has 2"):
        data(data_files=files, id_from="index").check_recorded({"0"})
    with pytest.raises(ValueError, match="records of several files by index, but data set 'parquet' now has 1"):
        data(data_files=files[:1], id_from="index").check_recorded({"0-0", "1-0"})


def test_ids_by_index_are_those_of_one_list_of_files(tmp_path, impatient):
    """Another file in front, another order, another size: the place, which the recorder compares, says so."""
    files = pictures_of(tmp_path, "parquet", ["a.png"], ["b.png"])
    options = {"id_from": "index"}
    place = data(data_files=files, **options).place
    assert place.startswith(f"{tmp_path}, files ") and data(data_files=files, **options).place == place
    assert data(data_files=files).place == data(data_files=files[:1]).place == str(tmp_path)
    new = shutil.copy(files[0], tmp_path / "new.parquet")
    others = [data(data_files=names, **options).place for names in ([str(new), *files], files[::-1])]
    pictures_of(tmp_path, "parquet", ["a.png", "c.png"])
    others.append(data(data_files=files, **options).place)
    assert len({place, *others}) == 4
    with serving({Path(file).name: Path(file).read_bytes() for file in files}) as server:
        urls = [server.url(f"{i}.parquet") for i in range(2)]
        far = [data(data_files=names, **options).place for names in (urls, urls, urls[::-1])]
    assert far[0] == far[1] != far[2]


@pytest.mark.parametrize("form", ["parquet", "arrow", "webdataset"])
def test_records_of_ids_that_files_no_longer_have_are_refused(tmp_path, form):
    """Where all ids were read: not with a limit, or a choice, of which others may have been recorded."""
    files = pictures_of(tmp_path, form, ["a.png", "sub/gr%n.png"], ["c.png"])
    recorded = {"a", "sub__gr%25n", "c", "row:0-7", "a (repeat 1)"}
    data(form, data_files=files).check_recorded(recorded)
    pictures_of(tmp_path, form, ["a.png", "new.png"])
    for options in ({"limit": 2}, {"subset": 2}, {"subset": [*recorded]}):
        data(form, data_files=files, **options).check_recorded(recorded)
    with pytest.raises(ValueError, match=f"records of 'sub__gr%25n', which data set '{form}' no longer has"):
        data(form, data_files=files).check_recorded(recorded)


def test_records_of_values_that_an_id_column_no_longer_has_are_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(parquet(range(2)))
    options = {"data_files": str(tmp_path / "a.parquet"), "id_column": "name"}
    data(**options).check_recorded({"r0", "r1"})
    (tmp_path / "a.parquet").write_bytes(parquet(range(2, 4)))
    with pytest.raises(ValueError, match="records of 'r0', 'r1', which data set 'parquet' no longer has"):
        data(**options).check_recorded({"r0", "r1"})


def test_samples_asked_for_by_name_are_known(shards):
    """MetricRecorder makes failures of those that nobody met; with a limit, not all of them are wanted."""
    options = {"data_files": shards, "id_column": "name"}
    assert data(subset=["r1", "nobody"], **options).wanted_ids == {"r1", "nobody"}
    assert data(subset=["r1", "r2"], limit=1, **options).wanted_ids == data(subset=3, **options).wanted_ids == set()


def test_ids_by_index_need_a_pinned_revision_of_the_hub(monkeypatch, shards):
    """The error says which commit it would be now."""
    from dataclasses import replace

    from datamodules import huggingface

    commit = "0123456789" * 4
    open_split = huggingface.open_split
    monkeypatch.setattr(
        huggingface,
        "open_split",
        lambda path, name, split, revision, *files: replace(
            open_split(path, None, split, None, *files), revision=commit
        ),
    )
    for revision in (None, "main"):
        with pytest.raises(ValueError, match=f"a pinned revision.*add revision: {commit}"):
            data(data_files=shards, id_from="index", revision=revision)
    assert len(read(data(data_files=shards, id_from="index", revision=commit))) == 17
    assert data(data_files=shards).place == f"parquet at commit {commit}"


def test_addresses_are_no_place_that_a_run_must_find_unchanged():
    from datamodules.hub import Opened

    opened = Opened(None, "parquet", ["https://a.b/c/x.parquet?token=1/2"], "https:/a.b/c", None, None)
    assert opened.is_remote and opened.place("parquet") is None
