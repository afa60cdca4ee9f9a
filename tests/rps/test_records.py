"""The files of a run: what is written can be read, whatever happens to them."""

import json
import math
import os

import pyarrow
import pyarrow.parquet
import pytest
import torch

from rps.records import (
    RecordWriter,
    Row,
    Vectors,
    file_name,
    has_records,
    level_name,
    levels_left,
    outcomes,
    read_records,
    summary,
    write_json,
    written,
)
from rps.report.table import table


def test_what_is_written_is_read(tmp_path):
    rows = [
        Row("b", 0.3, metrics={"rmse": 0.1, "psnr": math.inf}),
        Row("a", 0.3, status="failed", reason="unreadable"),
        Row("a", 1, metrics={"niqe": 3.0}),
        Row("a", None, "pseudo_inverse"),
    ]
    vectors = [Vectors(["a", "b"], 1, "restored", torch.tensor([[1.0, 2.0], [3.0, 4.0]]))]
    RecordWriter(tmp_path, rank=3).write(rows, "lambda", vectors, "net")
    records = read_records(tmp_path)
    assert records.knob == "lambda" and records.network == "net" and records.levels == [0.3, 1]
    assert list(records.rows["restored", 0.3].values()) == [rows[1], rows[0]]
    assert records.rows["restored", 1]["a"] == rows[2]
    assert records.rows["pseudo_inverse", None]["a"] == rows[3]
    assert records.features["restored", 1]["b"].tolist() == [3, 4]
    assert records.failures() == {"a": "unreadable"}


def test_the_last_of_two_rows_wins_and_is_counted(tmp_path):
    for value in (1.0, 2.0):
        row = Row("a", 0, metrics={"rmse": value})
        RecordWriter(tmp_path).write([row], "t0", [Vectors(["a"], 0, "restored", torch.full((1, 2), value))], "net")
    records = read_records(tmp_path)
    assert records.rows["restored", 0]["a"].metrics["rmse"] == 2.0
    assert records.features["restored", 0]["a"].tolist() == [2, 2]
    assert records.duplicates == 1


def test_a_second_sample_that_fails_does_not_take_the_place_of_a_good_one(tmp_path):
    """Of two processes that both had a sample "a"; and a sample may fail twice without being two."""
    writer = RecordWriter(tmp_path)
    bad = {"status": "failed", "reason": "nan"}
    writer.write([Row("a", 0, metrics={"rmse": 0.1}), Row("b", 0, **bad)], "t0")
    writer.write([Row("a", 0, **bad), Row("b", 0, **bad)], "t0")
    records = read_records(tmp_path)
    assert records.rows["restored", 0]["a"].metrics == {"rmse": 0.1}
    assert records.repeated_ids == {"a"} and records.failures() == {"b": "nan"}


def test_files_being_written_are_not_read(tmp_path):
    RecordWriter(tmp_path).write([Row("a", 0)], "t0")
    (tmp_path / "records" / ".half.part.parquet").write_bytes(b"PAR1 not yet")
    assert list(read_records(tmp_path).rows["restored", 0]) == ["a"]


def test_a_broken_file_and_a_foreign_run_are_told(tmp_path):
    RecordWriter(tmp_path).write([Row("a", 0)], "t0")
    (tmp_path / "records" / "0.parquet").write_bytes(b"no parquet, and none of ours by its name")
    broken = tmp_path / "records" / f"{0:020d}-00000-1-{0:08x}.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"-00000000\.parquet is not a records file"):
        read_records(tmp_path)
    broken.unlink()
    assert list(read_records(tmp_path).rows["restored", 0]) == ["a"]
    RecordWriter(tmp_path).write([Row("a", 0)], "lambda")
    with pytest.raises(ValueError, match=r"several knobs: \['lambda', 't0'\]"):
        read_records(tmp_path)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, {"a": 1})

    def interrupted():
        with written(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["metrics.json"]


def test_no_records_yet(tmp_path):
    assert not has_records(tmp_path)
    records = read_records(tmp_path)
    assert records.rows == {} and records.levels == []


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "a.json", {"x": [math.nan, math.inf, 1.0], "y": (1, "NaN")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": [None, None, 1.0], "y": [1, "NaN"]}


def test_file_names_stay_in_their_folder_and_differ(tmp_path):
    ids = [
        "a", "A b.c", "kodim01", "über/ß", "../../etc/passwd", "..", ".", "", "/", "\\", "a/b", "a%2Fb", "a%2fb", "%",
        "%2E", ".hidden", "con:1", "new\nline", "nul\0", "\ud800", "x" * 5000, "x" * 5000 + "y", "é" * 300, "é" * 301,
    ]  # fmt: skip
    names = [file_name(id_) for id_ in ids]
    assert len(set(names)) == len(ids)
    for id_, name in zip(ids, names, strict=True):
        (tmp_path / f"{name}.png").write_text(repr(id_))
    assert sorted(os.listdir(tmp_path)) == sorted(f"{name}.png" for name in names)
    assert names[:3] == ids[:3]


def test_level_names():
    assert [level_name(level) for level in (0, 100, 100.0, 0.3, 1e-5, 1e6)] == [
        "0",
        "100",
        "100",
        "0.3",
        "1e-05",
        "1000000",
    ]


def test_two_samples_of_one_id_are_told_in_words_and_retried_failures_are_not(tmp_path):
    """Shards that different processes read can both have a sample "a"; "b" failed at one level and was tried again."""
    writer = RecordWriter(tmp_path)
    writer.write([Row("a", 0), Row("b", 0), Row("b", 50, status="failed", reason="nan"), Row("a", 50)], "t0")
    writer.write([Row("b", 0), Row("b", 50)], "t0")
    assert read_records(tmp_path).repeated_ids == frozenset() and read_records(tmp_path).duplicates == 2
    writer.write([Row("a", 0), Row("a", 50)], "t0")
    found = summary(read_records(tmp_path))
    assert found["repeated_ids"] == ["a"]
    assert "1 id came more than once though nothing had failed (a)" in table(found)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.drop_columns(["seconds"]), "it has no column 'seconds'"),
        (lambda table: table.drop_columns(["id"]), "it has no column 'id'"),
        (lambda table: with_values(table, "id", [None, "b"]), "a row without an id"),
        (lambda table: with_values(table, "level", [math.nan, 0.0]), "a level that is not a number"),
    ],
)
def test_records_that_were_tampered_with_are_one_sentence(tmp_path, change, reason):
    RecordWriter(tmp_path).write([Row("a", 0), Row("b", 0)], "t0")
    (path,) = (tmp_path / "records").iterdir()
    pyarrow.parquet.write_table(change(pyarrow.parquet.read_table(path)), path)
    for read in (read_records, outcomes):
        if reason != "it has no column 'seconds'" or read is read_records:
            with pytest.raises(ValueError, match=f"is not a records file that this program wrote .*{reason}"):
                read(tmp_path)


def with_values(table, name, values):
    place = table.column_names.index(name)
    return table.set_column(place, name, pyarrow.array(values, table.schema.field(name).type))


def test_a_copy_of_a_file_is_none_of_ours_and_a_success_beats_a_failure(tmp_path):
    """Whatever the clocks say: the failure of a retry is written under a later time than the success before it."""
    writer = RecordWriter(tmp_path)
    writer.write([Row("a", 0, metrics={"rmse": 0.1})], "t0")
    (path,) = (tmp_path / "records").iterdir()
    path.with_name(f"{path.stem} (copy).parquet").write_bytes(path.read_bytes())
    assert read_records(tmp_path).duplicates == 0
    writer.write([Row("a", 0, status="failed", reason="later")], "t0")
    assert not read_records(tmp_path).failures()
    assert levels_left(outcomes(tmp_path), [0], with_failed=False) == {"a": ()}


def test_an_image_that_was_restored_again_is_no_other_sample_of_its_id(tmp_path):
    writer = RecordWriter(tmp_path)
    for error in (0.1, 0.1 + 1e-7):
        writer.write([Row("a", 0, metrics={"rmse": error})], "t0")
    assert not read_records(tmp_path).repeated_ids
    writer.write([Row("a", 0, metrics={"rmse": 0.2})], "t0")
    assert read_records(tmp_path).repeated_ids == {"a"}
