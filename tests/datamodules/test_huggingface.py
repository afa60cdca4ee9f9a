"""The same samples from parquet, tar archives and image folders, from disk and from a server that fails."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from datamodules import HuggingFace, rows
from datamodules.huggingface import choice
from datamodules.pictures import read_picture
from rps.records import RunDirectory
from tests.datamodules.loopback import serving

COUNTS = (3, 1, 4, 2, 1, 3, 3)
"""Rows of each of seven files; their values are 0 to 16."""

CHOSEN = [(sum(COUNTS[:shard]), row) for shard, rows in choice(5, COUNTS, 3).items() for row in rows]


def encoded(value: int, size: int = 4, noise: bool = False) -> bytes:
    """A picture of one grey; or of noise, which no compression makes small."""
    pixels = np.full((size, size), value, dtype=np.uint8)
    if noise:
        pixels = np.random.default_rng(value).integers(256, size=(size, size), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP" if noise else "PNG")
    return buffer.getvalue()


def parquet(rows: range, damaged: tuple[int, ...] = (), **options) -> bytes:
    """Rows "r0", "r1", ... in groups of three, each a picture of that grey value."""
    images = [
        {"bytes": b"no picture" if i in damaged else encoded(i, **options), "path": f"pictures/{i}.png"} for i in rows
    ]
    table = pa.table(
        {
            "image": images,
            "name": [f"r{i}" for i in rows],
            "texts": [[f"caption {i}", "another"] for i in rows],
            "label": [i % 2 for i in rows],
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=3)
    return buffer.getvalue()


def archive(names: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def data(path: str = "parquet", process: tuple[int, int] = (0, 1), **options) -> HuggingFace:
    """As one process of several sees it, set up."""
    module = HuggingFace(path, **{"size": 4, "channels": 1, "batch_size": 2, "backoff": 0.001, **options})
    module.trainer = SimpleNamespace(lightning_module=None, global_rank=process[0], world_size=process[1])
    module.setup("predict")
    return module


def read(module: HuggingFace) -> dict[str, torch.Tensor | str]:
    """id -> picture, or the reason why there is none; every id once."""
    batches = list(module.predict_dataloader())
    pairs = [(name, image) for b in batches for name, image in zip(b["id"], b["image"], strict=True)]
    pairs += [pair for b in batches for pair in b["failed"]]
    assert max(Counter(name for name, _ in pairs).values(), default=1) == 1
    return dict(pairs)


def greys(samples: dict) -> dict[str, int]:
    """id -> grey value."""
    return {name: round((image.mean().item() + 1) * 127.5) for name, image in samples.items()}


@pytest.fixture
def shards(tmp_path):
    files, start = [], 0
    for number, count in enumerate(COUNTS):
        files.append(tmp_path / f"part-{number}.parquet")
        files[-1].write_bytes(parquet(range(start, start + count)))
        start += count
    return [str(file) for file in files]


@pytest.fixture
def impatient(monkeypatch):
    """The waits of datasets between reads, 5 s by default, made short; and no proxy between us and ourselves."""
    import datasets

    monkeypatch.setattr(datasets.config, "STREAMING_READ_RETRY_INTERVAL", 0.001)
    monkeypatch.setattr(datasets.config, "STREAMING_OPEN_RETRY_INTERVAL", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("files", [1, 2, 7])
def test_every_sample_once_for_any_number_of_processes(shards, files, world, workers):
    """Split by files where there are as many as readers, else by position; the readers are 1 to 6."""
    parts = [
        read(data(data_files=shards[-files:], process=(rank, world), num_workers=workers, id_column="name"))
        for rank in range(world)
    ]
    seen = Counter(name for part in parts for name in part)
    first = {1: 14, 2: 11, 7: 0}[files]
    assert seen == Counter(f"r{i}" for i in range(first, 17))
    assert all(greys(part) == {name: int(name[1:]) for name in part} for part in parts)


def test_a_process_that_gets_no_sample(shards):
    """Three processes for one file with one row."""
    parts = [read(data(data_files=shards[1], process=(rank, 3), id_column="name")) for rank in range(3)]
    assert [list(part) for part in parts] == [["r3"], [], []]


def pictures_of(folder, form: str, *shards: list[str]) -> list[str]:
    """Files of one grey picture per name.  -> their paths."""
    files = []
    for number, names in enumerate(shards):
        files.append(folder / f"{number}.{'tar' if form == 'webdataset' else form}")
        table = pa.table({"image": [{"bytes": encoded(len(files)), "path": name} for name in names]})
        if form == "parquet":
            pq.write_table(table, files[-1])
        elif form == "arrow":
            with pa.ipc.new_stream(files[-1], table.schema) as stream:
                stream.write_table(table)
        else:
            files[-1].write_bytes(archive({name: encoded(len(files)) for name in names}))
    return list(map(str, files))


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


def test_a_column_of_a_wrong_type_is_named(tmp_path):
    """Lists of pictures, addresses, texts as labels, a picture as caption or id."""
    features = datasets.Features(
        {"images": datasets.List(datasets.Image()), "one": datasets.Image(), "url": datasets.Value("string")}
    )
    rows = {"images": [[Image.new("L", (4, 4))]], "one": [Image.new("L", (4, 4))], "url": ["http://x/y.png"]}
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "a.parquet")
    for option, column, words in (
        ("image_column", "images", "one encoded picture"),
        ("image_column", "url", "one encoded picture"),
        ("caption_column", "one", "a text"),
        ("caption_column", "images", "a text"),
        ("label_column", "url", "an integer"),
        ("id_column", "one", "a text or an integer"),
        ("id_column", "images", "a text or an integer"),
    ):
        with pytest.raises(ValueError, match=f"column '{column}' of data set .*{option} needs {words}"):
            data(data_files=str(tmp_path / "a.parquet"), **{"image_column": "one", option: column})


def test_a_name_in_an_archive_that_is_not_utf8(tmp_path):
    """Is encoded where datasets hands it on, and named where datasets fails on it, among the first samples."""
    names = [f"{i}.png" for i in range(9)]
    latin = os.fsdecode(b"gr\xfcn.png")
    (tmp_path / "a.tar").write_bytes(archive({name: encoded(1) for name in [*names, latin]}))
    assert set(read(data("webdataset", data_files=str(tmp_path / "a.tar")))) == {*"012345678", "gr%FCn"}
    (tmp_path / "a.tar").write_bytes(archive({name: encoded(1) for name in [latin, *names]}))
    with pytest.raises(ValueError, match=r"contains the name 'gr.udcfcn.*', which is not UTF-8; rename that file"):
        data("webdataset", data_files=str(tmp_path / "a.tar"))


def test_an_image_folder_of_zip_archives(tmp_path, capsys):
    """Named by archive and member; what is no picture is left out, and a broken archive is one sentence."""
    (tmp_path / "set").mkdir()
    for name in ("one", "two"):
        with zipfile.ZipFile(tmp_path / "set" / f"{name}.zip", "w") as archive:
            archive.writestr("x/ü #1.png", encoded(3))
            archive.writestr("x/2.PNG", encoded(5))
            archive.writestr("x/notes.txt", "no picture")
    found = read(data(str(tmp_path / "set")))
    assert greys(found) == {f"{name}__x__{k}": v for name in ("one", "two") for k, v in (("ü #1", 3), ("2", 5))}
    assert capsys.readouterr().err == ""
    (tmp_path / "set" / "three.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="has a ZIP archive that cannot be read"):
        data("imagefolder", data_dir=str(tmp_path / "set"))


def test_files_of_an_image_folder_that_are_no_pictures_are_counted(tmp_path, capsys):
    for name in ("a.png", "b.heic", "c.dib"):
        (tmp_path / name).write_bytes(encoded(1))
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a"}')
    assert list(read(data("imagefolder", data_dir=str(tmp_path)))) == ["a"]
    assert "ignored 2 files of data set 'imagefolder' (1 .dib, 1 .heic)" in capsys.readouterr().err


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


@pytest.mark.parametrize("options", [{}, {"id_from": "index"}, {"id_column": "txt"}])
@pytest.mark.parametrize("shown", ["content", "header"])
def test_an_archive_that_ends_too_early_is_refused(tmp_path, shown, options):
    """Within a picture, or within a header; datasets reads what is there. One without its last blocks is whole."""
    content = archive({k: v for i in range(3) for k, v in ((f"{i}.png", encoded(i)), (f"{i}.txt", b"%d" % i))})
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        members = tar.getmembers()
    file = tmp_path / "a.tar"
    named = {"data_files": str(file), "image_column": "png", **options}
    file.write_bytes(content[: members[-1].offset_data + 512])
    assert len(read(data("webdataset", **named))) == 3
    file.write_bytes(content[: members[2].offset_data + 30 if shown == "content" else members[2].offset + 300])
    with pytest.raises(ValueError, match=r"^archive .*a\.tar is truncated or damaged \(.*\); copy it again"):
        data("webdataset", **named)


def test_an_archive_that_is_compressed_whatever_its_name(tmp_path):
    (tmp_path / "a.tar").write_bytes(gzip.compress(archive({f"{i}.png": encoded(i) for i in range(3)})))
    module = data("webdataset", data_files=str(tmp_path / "a.tar"))
    module.check_recorded({"another"})
    assert set(read(module)) == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"limit": 5, "skip": 2}, {"r2", "r3", "r4", "r5", "r6"}),
        ({"subset": ["r1", "r8", "r16"]}, {"r1", "r8", "r16"}),
        ({"subset": 5, "subset_seed": 3}, {f"r{row + start}" for start, row in CHOSEN}),
    ],
)
def test_parts_of_the_data_are_split_exactly_too(shards, options, expected):
    for world in (1, 2):
        parts = [
            read(data(data_files=shards, process=(rank, world), id_column="name", **options)) for rank in range(world)
        ]
        assert sorted(name for part in parts for name in part) == sorted(expected)


def test_samples_asked_for_by_name_are_known(shards):
    """MetricRecorder makes failures of those that nobody met; with a limit, not all of them are wanted."""
    options = {"data_files": shards, "id_column": "name"}
    assert data(subset=["r1", "nobody"], **options).wanted_ids == {"r1", "nobody"}
    assert data(subset=["r1", "r2"], limit=1, **options).wanted_ids == data(subset=3, **options).wanted_ids == set()


def test_a_random_choice_is_nested_even_and_a_function_of_the_seed():
    """Every row has the same chance: over 400 seeds, 3 of 12, each count is within 4 standard errors of 100."""
    sizes = [5, 0, 4, 3]
    assert choice(3, sizes, 1) == choice(3, sizes, 1)
    for shard, few in choice(3, sizes, 1).items():
        assert set(few) <= set(choice(6, sizes, 1)[shard])
    counts = Counter(
        (shard, row) for seed in range(400) for shard, rows in choice(3, sizes, seed).items() for row in rows
    )
    assert len(counts) == 12 and all(abs(count - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5 for count in counts.values())
    assert choice(12, sizes, 0) == {0: [0, 1, 2, 3, 4], 2: [0, 1, 2, 3], 3: [0, 1, 2]}
    with pytest.raises(ValueError, match="at most the number of samples, 12, got 13"):
        choice(13, sizes, 0)


def test_done_samples_are_not_decoded(shards, monkeypatch):
    """What a run has done already is left out, in every way of splitting."""
    module = data(data_files=shards, id_column="name")
    module.skip_ids = {f"r{i}" for i in range(17) if i != 9}
    opened = []
    monkeypatch.setattr(rows, "_read", lambda *args: opened.append(1) or torch.zeros(1, 4, 4))
    assert list(read(module)) == ["r9"] and len(opened) == 1
    parts = []
    for rank in range(2):
        part = data(data_files=shards[2], process=(rank, 2), id_column="name")
        part.skip_ids = {"r4", "r6"}
        parts += read(part)
    assert sorted(parts) == ["r5", "r7"]


def test_columns_captions_and_damaged_rows(tmp_path):
    (tmp_path / "a.parquet").write_bytes(parquet(range(4), damaged=(1,)))
    named = {"caption_column": "texts", "label_column": "label"}
    module = data(data_files=str(tmp_path / "a.parquet"), batch_size=4, **named)
    (batch,) = module.predict_dataloader()
    assert batch["id"] == ["pictures__0", "pictures__2", "pictures__3"]
    assert batch["caption"] == ["caption 0", "caption 2", "caption 3"] and batch["label"] == [0, 0, 1]
    ((name, reason),) = batch["failed"]
    assert name == "pictures__1" and "not a picture" in reason
    assert module.num_samples == 4


def test_ids_by_index_name_shard_and_row(shards):
    assert list(read(data(data_files=shards[:2], id_from="index"))) == ["0-0", "0-1", "0-2", "1-0"]
    assert list(read(data(data_files=shards[0], id_from="index"))) == ["0", "1", "2"]


def test_the_same_samples_from_parquet_tar_and_folder(tmp_path):
    """Ids are the names of files without their extension, wherever the files are kept."""
    folder = tmp_path / "folder" / "sub"
    folder.mkdir(parents=True)
    captions, tar = [], {}
    for i in range(4):
        (folder / f"{i}.png").write_bytes(encoded(i))
        captions.append(json.dumps({"file_name": f"sub/{i}.png", "text": f"caption {i}"}))
        tar |= {f"sub/{i}.png": encoded(i), f"sub/{i}.txt": f"caption {i}".encode()}
    (tmp_path / "a.tar").write_bytes(archive(tar))
    rows = [{"image": {"bytes": encoded(i), "path": f"sub/{i}.png"}, "text": f"caption {i}"} for i in range(4)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    forms = [
        data("parquet", data_files=str(tmp_path / "a.parquet"), caption_column="text", batch_size=4),
        data("webdataset", data_files=str(tmp_path / "a.tar"), caption_column="txt", batch_size=4),
        data("imagefolder", data_dir=str(tmp_path / "folder"), batch_size=4),
    ]
    (tmp_path / "folder" / "metadata.jsonl").write_text("\n".join(captions))
    forms.append(data("imagefolder", data_dir=str(tmp_path / "folder"), caption_column="text", batch_size=4))
    for form, module in enumerate(forms):
        (batch,) = module.predict_dataloader()
        assert batch["id"] == [f"sub__{i}" for i in range(4)]
        assert greys(dict(zip(batch["id"], batch["image"], strict=True))) == {f"sub__{i}": i for i in range(4)}
        assert form == 2 or batch["caption"] == [f"caption {i}" for i in range(4)]


def test_paths_that_come_out_of_the_data_are_not_opened(tmp_path):
    """A row without bytes, whose path is that of a picture elsewhere on this machine."""
    (tmp_path / "secret.png").write_bytes(encoded(7))
    rows = [{"image": {"bytes": None, "path": str(tmp_path / "secret.png")}, "name": "a"}]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("name", pa.string())
    ])), tmp_path / "a.parquet")  # fmt: skip
    samples = read(data(data_files=str(tmp_path / "a.parquet"), id_column="name"))
    assert samples == {"a": "cannot be read: the row contains no image"}


def test_small_pictures_are_enlarged_only_on_request(tmp_path):
    (tmp_path / "a.parquet").write_bytes(parquet(range(1)))
    options = {"data_files": str(tmp_path / "a.parquet"), "size": 8, "id_column": "name"}
    assert "smaller than the 8 x 8" in read(data(**options))["r0"]
    assert read(data(**options, enlarge=True))["r0"].shape == (1, 8, 8)


def test_no_code_of_a_data_set_is_run(tmp_path):
    """Neither a script, nor the reader of datasets that unpickles."""
    folder = tmp_path / "evil"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ValueError, match="such code is never run"):
        data(str(folder / "evil.py"))
    (tmp_path / "a.pkl").write_bytes(b"cbuiltins\nopen\n(S'" + str(tmp_path / "ran").encode() + b"'\nS'w'\ntR.")
    with pytest.raises(ValueError, match="the builder 'pandas', which is not supported"):
        data("pandas", data_files=str(tmp_path / "a.pkl"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"split": "val"}, "has no split 'val'; it has 'train'"),
        ({"image_column": "picture"}, "has no column 'picture'; it has image, name, texts, label"),
        ({"caption_column": "text"}, "has no column 'text'"),
        ({"label_column": "class"}, "has no column 'class'; it has image, name, texts, label"),
        ({"id_column": "label"}, r"two samples in .* have the id '0'"),
        ({"subset": 18}, "subset must be at most the number of samples, 17, got 18"),
        ({"subset": 0}, "a number of samples >= 1, got 0"),
        ({"size": 0}, "size must be at least 1 pixel"),
        ({"channels": 2}, "channels must be 1 .* or 3"),
        ({"size": None}, "HuggingFace has no prior .*; give size and channels"),
        ({"skip": 17}, "skip must be less than the number of samples, 17"),
    ],
)
def test_what_cannot_be(shards, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        read(data(data_files=shards, **options))


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


FAULTS = ["drop", "500", "cut", None, "500", "500", "drop", None, "cut", "drop", "500", None, "cut", "cut", "500"] * 2


@pytest.mark.parametrize("own", [1, 20])
def test_a_failing_server_gives_the_samples_of_the_local_files(shards, impatient, monkeypatch, own):
    """With the repetitions of datasets itself (20), and without (1), when all is left to us."""
    import datasets

    monkeypatch.setattr(datasets.config, "STREAMING_READ_MAX_RETRIES", own)
    local = read(data(data_files=shards, id_column="name"))
    with serving({f"{i}.parquet": open(file, "rb").read() for i, file in enumerate(shards)}) as server:
        server.faults = list(FAULTS)
        far = read(data(data_files=[server.url(f"{i}.parquet") for i in range(7)], id_column="name"))
    assert list(far) == list(local) and all(torch.equal(far[name], local[name]) for name in local)
    assert {fault for _, fault in server.failed} == {"drop", "500", "cut"} and not server.faults


def test_a_fault_within_a_file_loses_and_repeats_nothing(impatient, monkeypatch):
    """An archive of 3 MB, which is read in one long answer; the first two end halfway."""
    import datasets

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
    import datasets

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


def test_an_image_folder_that_holds_a_run_is_refused(tmp_path):
    """datasets lists the run's own pictures as data."""
    for name in ("a.png", "run/images/0/a.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / "set" / name)
    RunDirectory(tmp_path / "set" / "run").begin("model: {}", [])
    with pytest.raises(ValueError, match=r"contains the run .*set/run, whose pictures would become data; move"):
        HuggingFace(str(tmp_path / "set"), size=8, channels=1).setup("predict")


def test_an_image_folder_around_the_output_is_refused_at_the_first_start(tmp_path):
    """Not where the pictures were named by patterns that do not reach into the run."""
    (tmp_path / "set").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "set" / "a.png")

    def start(output: str, **options) -> None:
        module = HuggingFace("imagefolder", size=8, channels=1, **options)
        module.trainer = SimpleNamespace(
            lightning_module=None, global_rank=0, world_size=1, default_root_dir=str(tmp_path / output)
        )
        module.setup("predict")

    folder = {"data_dir": str(tmp_path / "set")}
    for output in ("set/run", "set", "elsewhere/../set/run"):
        with pytest.raises(ValueError, match=r"written to .*set.*, inside the data set .*give an --output elsew"):
            start(output, **folder)
        start(output, data_files=str(tmp_path / "set" / "*.png"))
    with pytest.raises(ValueError, match="give an --output elsewhere"):
        start("set/run", data_files=str(tmp_path / "set" / "**"))
    start("run", **folder)
    start("set-run", **folder)
