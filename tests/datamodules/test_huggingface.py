"""The same samples from parquet, tar archives and image folders, split and chosen in every way."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import zipfile
from collections import Counter
from types import SimpleNamespace

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from datamodules import HuggingFace, rows
from datamodules.huggingface import choice
from rps.records import RunDirectory
from tests.datamodules.hub_data import COUNTS, archive, data, encoded, greys, parquet, read

CHOSEN = [(sum(COUNTS[:shard]), row) for shard, rows in choice(5, COUNTS, 3).items() for row in rows]


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


@pytest.mark.parametrize("options", [{"limit": 5, "skip": 2}, {"subset": ["r1"]}, {"subset": 5}, {}])
def test_samples_by_their_ids_whichever_the_arguments_choose(shards, options):
    for world in (1, 2):
        parts: list[str] = []
        for rank in range(world):
            part = data(data_files=shards, process=(rank, world), id_column="name", **options)
            part.only_ids = {"r0", "r9", "r16"}
            part.setup("predict")
            parts += read(part)
        assert sorted(parts) == ["r0", "r16", "r9"]


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
