"""The run directory: what is written can be read, merged, and comes to the right figures."""

import json
import math
import os

import pyarrow
import pyarrow.parquet
import pytest
import torch

from rps.metrics import Metric, MetricInfo, Statistics, as_saved, frechet_distance, rmse, standard
from rps.operators import Inpaint, Operator
from rps.records import (
    RecordWriter,
    Row,
    Vectors,
    done_ids,
    evaluate,
    file_name,
    has_records,
    level_name,
    outcomes,
    read_records,
    summary,
    write_json,
    written,
)
from rps.records.rows import Origin
from rps.report.page import write_page
from rps.report.table import table
from tests.rps.predictions import LEVELS, Blocks, clean_images, prediction

IDS = [f"image {i}" for i in range(7)]


def record(run, *predictions, features=True):
    """Writes these predictions as a run would, and reads them back."""
    network = Blocks() if features else None
    for one in predictions:
        found = evaluate(one, features=network)
        RecordWriter(run).write(found.rows, one.restoration.knob, found.vectors, network.name if network else None)
    return read_records(run)


# ---------------------------------------------------------------------------------------------------- evaluation


def test_a_row_for_every_sample_and_level():
    rows = evaluate(prediction(IDS, failures={"lost": "cannot be read"})).rows
    restored = [row for row in rows if row.kind == "restored"]
    assert {(row.id, row.level) for row in restored} == {(id_, level) for id_ in [*IDS, "lost"] for level in LEVELS}
    assert {row.id for row in rows if row.kind == "pseudo_inverse"} == set(IDS)
    lost = [row for row in restored if row.id == "lost"]
    assert all(row.status == "failed" and row.reason == "cannot be read" and not row.metrics for row in lost)


def test_metrics_are_of_the_image_as_saved():
    one = prediction(IDS)
    row = next(row for row in evaluate(one).rows if row.id == IDS[3] and row.level == 50)
    expected = rmse(as_saved(one.restoration.images[50]), as_saved(one.reference))[3]
    assert row.metrics["rmse"] == expected.item()
    assert row.cost == (11, 30, 1.5)
    assert set(row.metrics) == {"rmse", "psnr", "ssim", "consistency", "residual_rms"}


def test_the_residual_is_of_the_image_as_it_is():
    """Far outside [-1, 1], where clipping would hide it."""
    one = prediction(["a"], levels=(0,), noise_std=0.0)
    one.restoration.images[0][:] = one.reference + 3
    (row,) = [row for row in evaluate(one).rows if row.kind == "restored"]
    assert row.metrics["residual_rms"] == pytest.approx(3)
    assert "consistency" not in row.metrics


def test_an_image_that_is_not_finite_is_a_failed_row_and_no_other():
    found = evaluate(prediction(IDS, broken=((50, IDS[2]),)), features=Blocks())
    failed = [row for row in found.rows if row.status == "failed"]
    assert [(row.id, row.level, row.kind) for row in failed] == [(IDS[2], 50, "restored")]
    assert failed[0].reason == "the image at level 50 has values that are not finite"
    assert failed[0].cost.network_calls == 11 and not failed[0].metrics
    lengths = {(v.kind, v.level): len(v.ids) for v in found.vectors}
    assert lengths == {
        ("restored", 0): 7, ("restored", 50): 6, ("restored", 100): 7, ("pseudo_inverse", None): 7,
        ("reference", None): 7,
    }  # fmt: skip


def test_restoration_without_a_reference():
    found = evaluate(prediction(IDS, with_reference=False), features=Blocks())
    assert all(set(row.metrics) == {"consistency", "residual_rms"} for row in found.rows)
    assert {v.kind for v in found.vectors} == {"restored", "pseudo_inverse"}


def test_a_batch_in_which_nothing_could_be_read():
    found = evaluate(prediction([], failures={"a": "broken", "b": "too small"}), features=Blocks())
    assert len(found.rows) == 2 * len(LEVELS) and found.vectors == []


def test_an_operator_without_pseudo_inverse_has_no_baseline():
    class Square(Operator):
        def forward(self, x):
            return x.square().flatten(1)

    found = evaluate(prediction(IDS, operator=Square()))
    assert {row.kind for row in found.rows} == {"restored"}


def test_baseline_of_a_mask_is_mid_grey_in_the_holes():
    one = prediction(["a"], operator=Inpaint(0.5), noise_std=0.0, size=16)
    row = next(row for row in evaluate(one).rows if row.kind == "pseudo_inverse")
    seen = one.measurement.operator.index
    expected = torch.full((1, 256), 128 / 255)
    expected[0, seen[0]] = as_saved(one.reference).flatten(1)[0, seen[0]]
    assert row.metrics["rmse"] == pytest.approx(rmse(expected.view(1, 1, 16, 16), as_saved(one.reference)).item())


class Gaps(Metric):
    """No value for the third image, and infinite for the first."""

    name, title, definition, digits, better, needs_reference = "gaps", "Gaps", "a test's", 1, "higher", False

    def forward(self, restored, reference=None):
        return torch.tensor([math.inf, 1.0, math.nan, 2.0, 3.0, 4.0, 5.0])[: len(restored)]


def test_any_metric_is_recorded_and_explained(tmp_path):
    """Its column, mean, interval, definition, and how many of its values are infinite or missing; in order."""
    metrics = standard([Gaps()])
    found = evaluate(prediction(IDS), metrics)
    origin = Origin(metrics={metric.name: metric.info for metric in metrics})
    RecordWriter(tmp_path).write(found.rows, "t0", origin=origin)
    result = summary(read_records(tmp_path))
    level = result["levels"][0]["metrics"]["gaps"]
    assert level["mean"] == 3.0 and level["infinite"] == 1 and level["missing"] == 1
    assert level["se"] == pytest.approx((2 / 5) ** 0.5, rel=0.1)
    assert result["definitions"]["gaps"] == "a test's"
    titles = [title.strip() for title in table(result).split("\n")[0].split("|")[1:-1]]
    assert titles[3:8] == ["RMSE", "PSNR", "SSIM", "Gaps", "consistency"]  # MS-SSIM has no use for such small images
    assert "Gaps infinite for 1 of 7 (0); Gaps missing for 1 of 7 (0)" in table(result)


def test_a_metric_without_any_value_keeps_its_column(tmp_path):
    class Nothing(Gaps):
        def forward(self, restored, reference=None):
            return torch.full((len(restored),), math.nan)

    RecordWriter(tmp_path).write(evaluate(prediction(IDS), [Nothing()]).rows, "t0")
    result = summary(read_records(tmp_path))
    assert "| gaps |" in table(result).replace("  ", "") and "gaps missing for 7 of 7 (0)" in table(result)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": "Bad Name"}, "needs a name of lower-case letters, .* got 'Bad Name'"),
        ({"name": "level"}, "not already in use, got 'level'"),
        ({"better": "more"}, "better must be 'lower', 'higher' or None, got 'more' of gaps"),
        ({"forward": lambda self, x, y=None: x.mean()}, r"gaps must return one value per image, \[7\], got \(\)"),
    ],
)
def test_a_metric_that_cannot_be_recorded_is_one_sentence(wrong, sentence):
    metric = type("Wrong", (Gaps,), wrong)()
    with pytest.raises(ValueError, match=sentence):
        evaluate(prediction(IDS), standard([metric]))


def test_a_metric_takes_the_place_of_the_standard_one_of_its_name():
    class Ssim(Gaps):
        name = "ssim"

    own = Ssim()
    assert [metric for metric in standard([own]) if metric.name == "ssim"] == [own]
    assert [metric.name for metric in standard([own])] == [metric.name for metric in standard()]
    with pytest.raises(ValueError, match="two metrics are called gaps"):
        standard([Gaps(), Gaps()])


# -------------------------------------------------------------------------------------------------------- files


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


def test_two_samples_of_one_id_are_told_in_words_and_retried_failures_are_not(tmp_path):
    """Shards that different processes read can both have a sample "a"; "b" failed at one level and was tried again."""
    writer = RecordWriter(tmp_path)
    writer.write([Row("a", 0), Row("b", 0), Row("b", 50, status="failed", reason="nan"), Row("a", 50)], "t0")
    writer.write([Row("b", 0), Row("b", 50)], "t0")
    assert read_records(tmp_path).repeated == frozenset() and read_records(tmp_path).duplicates == 2
    writer.write([Row("a", 0), Row("a", 50)], "t0")
    found = summary(read_records(tmp_path))
    assert found["repeated_ids"] == ["a"]
    assert "1 id came more than once though nothing had failed (a)" in table(found)


def test_a_second_sample_that_fails_does_not_take_the_place_of_a_good_one(tmp_path):
    """Of two processes that both had a sample "a"; and a sample may fail twice without being two."""
    writer = RecordWriter(tmp_path)
    bad = {"status": "failed", "reason": "nan"}
    writer.write([Row("a", 0, metrics={"rmse": 0.1}), Row("b", 0, **bad)], "t0")
    writer.write([Row("a", 0, **bad), Row("b", 0, **bad)], "t0")
    records = read_records(tmp_path)
    assert records.rows["restored", 0]["a"].metrics == {"rmse": 0.1}
    assert records.repeated == {"a"} and records.failures() == {"b": "nan"}


def test_files_being_written_are_not_read(tmp_path):
    RecordWriter(tmp_path).write([Row("a", 0)], "t0")
    (tmp_path / "records" / ".half.part.parquet").write_bytes(b"PAR1 not yet")
    assert list(read_records(tmp_path).rows["restored", 0]) == ["a"]


def test_a_broken_file_and_a_foreign_run_are_told(tmp_path):
    RecordWriter(tmp_path).write([Row("a", 0)], "t0")
    (tmp_path / "records" / "0.parquet").write_bytes(b"no parquet, and none of ours by its name")
    broken = tmp_path / "records" / f"{0:020d}-00000-1-{0:08x}.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match=r"-00000000\.parquet is not a file of records"):
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


# ------------------------------------------------------------------------------------------------------ summary


def test_summary_of_a_run(tmp_path):
    """Figures from the images themselves; failures do not count."""
    ones = prediction(IDS[:4], broken=((50, IDS[1]),)), prediction(IDS[4:], failures={"lost": "cannot be read"})
    result = summary(record(tmp_path, *ones))
    assert result["knob"] == "t0"
    assert [(level["level"], level["n"], level["failed"]) for level in result["levels"]] == [
        (0, 7, 1),
        (50, 6, 2),
        (100, 7, 1),
    ]
    assert [level["network_calls_per_image"] for level in result["levels"]] == [10, 11, 12]
    assert [level["seconds_per_image"] for level in result["levels"]] == [0.5, 1.5, 2.5]
    assert result["total_network_calls_per_image"] == 30
    errors = [rmse(as_saved(one.restoration.images[50]), as_saved(one.reference)) for one in ones]
    errors = torch.cat([errors[0][[0, 2, 3]], errors[1]])
    found = result["levels"][1]["metrics"]["rmse"]
    assert found["mean"] == pytest.approx(errors.mean().item(), rel=1e-12)
    assert found["se"] == pytest.approx(errors.std(correction=0).item() / math.sqrt(6), rel=0.1)
    assert found["ci95"][0] < found["mean"] < found["ci95"][1]
    assert result["pseudo_inverse"]["n"] == 7 and "frechet" in result["pseudo_inverse"]["metrics"]
    assert "torch" in result["versions"] and "rmse" in result["definitions"]
    assert "difference_to_first" not in result["levels"][0]


def test_frechet_distance_to_the_runs_own_clean_images(tmp_path):
    one = prediction(IDS)
    result = summary(record(tmp_path, one))
    network, level = Blocks(), result["levels"][2]
    features = [network(as_saved(x)) for x in (one.restoration.images[100], one.reference)]
    expected = frechet_distance(*(Statistics.from_features(f) for f in features))
    frechet = level["metrics"]["frechet"]
    assert frechet["value"] == pytest.approx(expected, rel=1e-9)
    assert frechet["sqrt"] == pytest.approx(math.sqrt(expected))
    assert frechet["features"] == "quarters" and frechet["n"] == 7
    assert frechet["reference"] == {"images": "the clean images of this run", "n": 7}
    assert result["reference"] == {"images": "the clean images of this run", "n": 7, "metrics": {}}


def test_frechet_distance_to_another_set(tmp_path):
    others = Blocks()(as_saved(clean_images([f"other {i}" for i in range(50)])))
    reference = Statistics.from_features(others, images="fifty others")
    records = record(tmp_path, prediction(IDS))
    result = summary(records, reference)
    clean = torch.stack(list(records.features["reference", None].values()))
    own = result["reference"]["metrics"]["frechet"]
    assert own["value"] == pytest.approx(frechet_distance(Statistics.from_features(clean), reference), rel=1e-9)
    assert result["levels"][0]["metrics"]["frechet"]["reference"] == {"images": "fifty others", "n": 50}


def test_difference_to_the_first_level_is_paired(tmp_path):
    ones = [prediction(IDS, broken=((0, IDS[0]), (100, IDS[1])))]
    result = summary(record(tmp_path, *ones))
    errors = [rmse(as_saved(ones[0].restoration.images[level]), as_saved(ones[0].reference))[2:] for level in (0, 100)]
    paired = result["levels"][2]["difference_to_first"]
    assert paired["n"] == 5
    assert paired["rmse"]["mean"] == pytest.approx((errors[1] - errors[0]).mean().item())
    assert paired["rmse"]["se"] == pytest.approx(
        (errors[1] - errors[0]).std(correction=0).item() / math.sqrt(5), rel=0.1
    )
    assert {"value", "se", "ci95"} == set(paired["sqrt_frechet"])


def test_order_and_batches_do_not_matter(tmp_path):
    one = summary(record(tmp_path / "one", prediction(IDS)))
    several = summary(record(tmp_path / "several", prediction(IDS[5:]), prediction(IDS[:2]), prediction(IDS[4:1:-1])))
    assert one == several


def test_without_reference_there_is_no_distortion(tmp_path):
    result = summary(record(tmp_path, prediction(IDS, with_reference=False)))
    assert all(set(level["metrics"]) == {"consistency", "residual_rms"} for level in result["levels"])
    assert "reference" not in result


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any_images(tmp_path, n):
    """One image has no standard error and no Frechet distance; none has no figures at all. All of it is valid JSON."""
    result = summary(record(tmp_path, prediction(IDS[:n], failures={"lost": "gone"})))
    write_json(tmp_path / "metrics.json", result)
    level = json.loads((tmp_path / "metrics.json").read_text())["levels"][1]
    assert (level["n"], level["failed"]) == (n, 1)
    if n == 0:
        assert level["metrics"] == {} and level["network_calls_per_image"] is None
    elif n == 1:
        assert level["metrics"]["rmse"]["mean"] > 0 and level["metrics"]["rmse"]["se"] is None
        assert level["metrics"]["frechet"]["value"] is None
    else:
        assert level["metrics"]["frechet"]["value"] > 0


def test_metrics_that_later_versions_add_are_summed_up_too(tmp_path):
    RecordWriter(tmp_path).write([Row("a", 0, metrics={"rmse": 0.1}), Row("b", 0, metrics={"niqe": 3.0})], "t0")
    metrics = summary(read_records(tmp_path))["levels"][0]["metrics"]
    assert list(metrics) == ["rmse", "niqe"] and metrics["niqe"]["mean"] == 3.0


def test_the_spread_of_several_chains_is_recorded():
    """In [0, 1] units, of the level that has one."""
    found = prediction(["a", "b"])
    found.restoration.spread[50] = torch.full_like(found.restoration.images[50], 0.2)
    rows = {(row.level, row.id): row for row in evaluate(found).rows if row.kind == "restored"}
    assert rows[50, "a"].metrics["spread"] == pytest.approx(0.1)
    assert "spread" not in rows[0, "a"].metrics


def test_one_perfect_image_does_not_remove_the_psnr_of_the_others(tmp_path):
    """Also in the difference to the first level; where all are perfect, the figure is infinite."""
    found = prediction(IDS[:4])
    found.restoration.images[50][0] = found.reference[0]
    found.restoration.images[100] = found.reference.clone()
    result = summary(record(tmp_path, found))
    first, some, every = (level["metrics"]["psnr"] for level in result["levels"])
    others = -20 * rmse(as_saved(found.restoration.images[50][1:]), as_saved(found.reference[1:])).log10()
    assert some["mean"] == pytest.approx(others.mean().item()) and some["se"] > 0 and some["infinite"] == 1
    assert "infinite" not in first and every["infinite"] == 4
    assert result["levels"][1]["difference_to_first"]["psnr"]["mean"] < 0
    text = table(result)
    assert "PSNR infinite for 1 of 4 (50); PSNR infinite for 4 of 4 (100). Means are over the others." in text
    assert "PSNR infinite for 1 of 4 (50)" in write_page(tmp_path, result).read_text()
    psnr = [line.split("|")[5].strip() for line in text.splitlines()[2:5]]
    assert psnr[1].startswith(f"{some['mean']:.2f} ±") and psnr[2] == "∞"
    write_json(tmp_path / "metrics.json", result)
    assert json.loads((tmp_path / "metrics.json").read_text())["levels"][2]["metrics"]["psnr"]["mean"] is None


def test_a_metric_that_is_missing_of_some_images_is_said(tmp_path):
    rows = [Row("a", 0, metrics={"rmse": 0.1, "lpips": 0.3}), Row("b", 0, metrics={"rmse": 0.1})]
    RecordWriter(tmp_path).write(rows, "t0", origin=Origin(metrics={"lpips": MetricInfo("lpips", "LPIPS")}))
    result = summary(read_records(tmp_path))
    assert result["levels"][0]["metrics"]["lpips"]["missing"] == 1
    assert "LPIPS missing for 1 of 2 (0)." in table(result)


class NanFor(Blocks):
    """Features that are NaN for images of one mean."""

    def __init__(self, image):
        super().__init__()
        self.mean = image.mean()

    def forward(self, images):
        found = super().forward(images)
        found[(images.mean(dim=(1, 2, 3)) - self.mean).abs() < 1e-6] = math.nan
        return found


@pytest.mark.parametrize("reference", [False, True])
def test_a_sample_with_nan_features_costs_nobody_the_distance(tmp_path, reference):
    """The distance is that of the others, and the table says so."""
    found = prediction(IDS)
    network = NanFor(as_saved(found.restoration.images[50])[2])
    evaluation = evaluate(found, features=network)
    RecordWriter(tmp_path).write(evaluation.rows, "t0", evaluation.vectors, network.name)
    fixed = Statistics.from_features(torch.rand(50, 4, generator=torch.Generator().manual_seed(0)), "fifty", keep=True)
    result = summary(read_records(tmp_path), fixed if reference else None)
    kept = [i for i in range(7) if i != 2]
    x, clean = (Blocks()(as_saved(images[kept])) for images in (found.restoration.images[50], found.reference))
    expected = frechet_distance(Statistics.from_features(x), fixed if reference else Statistics.from_features(clean))
    level = result["levels"][1]
    assert level["n"] == 7 and level["metrics"]["frechet"]["n"] == level["metrics"]["kernel"]["n"] == 6
    assert level["metrics"]["frechet"]["value"] == pytest.approx(expected, rel=1e-6)
    assert level["difference_to_first"]["n"] == 7 and level["difference_to_first"]["sqrt_frechet"]["se"] > 0
    assert "no features of 1 of 7 (50). Means are over the others." in table(result)


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
            with pytest.raises(ValueError, match=f"is not a file of records that this program wrote .*{reason}"):
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
    assert done_ids(outcomes(tmp_path), [0], with_failed=False) == {"a"}


def test_an_image_that_was_restored_again_is_no_other_sample_of_its_id(tmp_path):
    writer = RecordWriter(tmp_path)
    for error in (0.1, 0.1 + 1e-7):
        writer.write([Row("a", 0, metrics={"rmse": error})], "t0")
    assert not read_records(tmp_path).repeated
    writer.write([Row("a", 0, metrics={"rmse": 0.2})], "t0")
    assert read_records(tmp_path).repeated == {"a"}
