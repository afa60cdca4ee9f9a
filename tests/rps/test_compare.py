"""Two runs compared on the samples that both have; distances over pairs, and hashes, in the summary."""

import pytest
import torch

from rps.metrics import Statistics
from rps.records import Origin, RecordWriter, Row, Vectors, read_records, summary
from rps.records.rows import RowCost
from rps.report import compare_runs, paired_table


def write(
    folder,
    rmse,
    seed=0,
    knob="t0",
    network="n",
    sha256="a" * 64,
    levels=(0, 100),
    clean_seed=1,
    failed=(),
    baseline=0.5,
):
    """A run of samples s0, s1, ... with these errors at every level, and features of them and of the clean images."""
    ids = [f"s{i}" for i in range(len(rmse))]
    clean = torch.randn(50, 6, generator=torch.Generator().manual_seed(clean_seed))[: len(ids)]
    noise = torch.randn(50, 6, generator=torch.Generator().manual_seed(seed))[: len(ids)]
    rows = [
        Row(id_, level, status="failed", reason="too dark")
        if id_ in failed
        else Row(id_, level, metrics={"rmse": e, "psnr": 10 - e}, cost=RowCost(network_calls=3))
        for level in levels
        for id_, e in zip(ids, rmse, strict=True)
    ]
    rows += [Row(id_, None, "pseudo_inverse", metrics={"rmse": baseline}) for id_ in ids]
    vectors = [Vectors(ids, level, "restored", clean + (0.1 + level / 100) * noise) for level in levels]
    vectors.append(Vectors(ids, None, "reference", clean))
    RecordWriter(folder).write(rows, knob, vectors, network, Origin({"features": sha256}))
    return folder


def test_differences_are_paired_on_common_samples(tmp_path):
    """The second run lacks the last sample; b = a - .01 on each of the others, so the error of the mean is nearly 0."""
    errors = torch.linspace(0.1, 0.9, 9).tolist()
    a = write(tmp_path / "a", errors)
    b = write(tmp_path / "b", [e - 0.01 for e in errors[:8]], levels=(100, 200))
    found = compare_runs(a, b)
    (level,) = found["levels"]
    assert level["level"] == level["other_level"] == 100 and level["n"] == 8
    rmse = level["metrics"]["rmse"]
    assert rmse["difference"] == pytest.approx(0.01) and rmse["se"] < 1e-9
    assert rmse["run"] == pytest.approx(sum(errors[:8]) / 8) and rmse["other"] == pytest.approx(rmse["run"] - 0.01)
    assert level["metrics"]["sqrt_frechet"]["difference"] == pytest.approx(0, abs=1e-6)
    assert level["metrics"]["kernel"]["difference"] == pytest.approx(0, abs=1e-6)
    assert found["left_out"]["only_in_run"] == ["s8"] and found["same_measurements"] is True
    text = paired_table(found)
    assert "8 samples in common. Left out: 1 only in A (s8)." in text
    (rmse_line,) = [line for line in text.splitlines() if " RMSE " in line]
    assert "| +0.0100 | +0.0100 to +0.0100 |" in " ".join(rmse_line.split())
    assert rmse_line.split("|")[-2].strip() == "B", "the smaller error is the better one"
    (psnr_line,) = [line for line in text.splitlines() if " PSNR " in line]
    assert psnr_line.split("|")[-2].strip() == "B", "the larger PSNR is the better one"


def test_the_interval_is_that_of_the_differences(tmp_path):
    """Half width 1.96 s / sqrt(n) to 15 %: of 1000 resamples a 95 % interval is known to some 5 %."""
    generator = torch.Generator().manual_seed(0)
    errors, change = torch.rand(2, 50, generator=generator)
    b = write(tmp_path / "b", (errors + 0.1 * change).tolist())
    rmse = compare_runs(write(tmp_path / "a", errors.tolist()), b)["levels"][0]["metrics"]["rmse"]
    low, high = rmse["ci95"]
    assert (high - low) / 2 == pytest.approx(1.96 * (0.1 * change).std().item() / 50**0.5, rel=0.15)
    assert rmse["difference"] == pytest.approx(-0.1 * change.mean().item(), abs=1e-6)


def test_levels_of_different_knobs_stand_all_against_all_or_as_asked(tmp_path):
    a = write(tmp_path / "a", [0.1] * 6)
    b = write(tmp_path / "b", [0.2] * 6, knob="samples", levels=(1, 4))
    found = compare_runs(a, b)
    assert [(level["level"], level["other_level"]) for level in found["levels"]] == [(0, 1), (0, 4), (100, 1), (100, 4)]
    text = paired_table(found)
    assert "| A: t0 | B: samples |" in text and "The knobs differ" in text
    found = compare_runs(a, b, pairs=[(100, 4)])
    assert [(level["level"], level["other_level"]) for level in found["levels"]] == [(100, 4)]
    # No value in common, although the knob is one.
    found = compare_runs(a, write(tmp_path / "c", [0.2] * 6, levels=(5,)))
    assert [(level["level"], level["other_level"]) for level in found["levels"]] == [(0, 5), (100, 5)]
    with pytest.raises(ValueError, match="b has no level samples = 3; it has 1, 4"):
        compare_runs(a, b, pairs=[(100, 3)])


def test_failed_samples_are_left_out_with_their_reasons(tmp_path):
    a = write(tmp_path / "a", [0.1] * 6, failed=["s2"])
    found = compare_runs(a, write(tmp_path / "b", [0.2] * 6, failed=["s4"]))
    assert [level["n"] for level in found["levels"]] == [4, 4]
    assert found["left_out"]["failed_in_run"] == {"s2": "too dark"}
    assert "1 that failed in A (s2: too dark); 1 that failed in B (s4: too dark)" in paired_table(found)


def test_distances_of_different_networks_are_not_compared(tmp_path):
    a = write(tmp_path / "a", [0.1] * 6)
    for name, other in (("b", {"network": "m"}), ("c", {"sha256": "b" * 64})):
        (level, _) = compare_runs(a, write(tmp_path / name, [0.2] * 6, **other))["levels"]
        assert level["metrics"]["rmse"]["difference"] == pytest.approx(-0.1)
        assert "sqrt_frechet" not in level["metrics"] and "kernel" not in level["metrics"]


def test_other_measurements_of_the_same_images_are_told(tmp_path):
    a = write(tmp_path / "a", [0.1] * 6)
    found = compare_runs(a, write(tmp_path / "b", [0.2] * 6, baseline=0.51))
    assert found["same_measurements"] is False
    assert "different measurements of the same images" in paired_table(found)


def test_what_cannot_be_compared(tmp_path):
    a = write(tmp_path / "a", [0.1] * 4)
    with pytest.raises(ValueError, match="different clean images"):
        compare_runs(a, write(tmp_path / "b", [0.1] * 4, clean_seed=2))
    RecordWriter(tmp_path / "c").write([Row("x", 0, metrics={"rmse": 0.1})], "t0")
    with pytest.raises(ValueError, match="no sample in common: the ids of one begin with 's0', those of the other"):
        compare_runs(a, tmp_path / "c")
    with pytest.raises(ValueError, match="no sample that both restored"):
        compare_runs(a, write(tmp_path / "d", [0.1] * 4, failed=["s0", "s1", "s2", "s3"]))


@pytest.mark.parametrize("n", [1, 2])
def test_hardly_any_samples(tmp_path, n):
    """Figures without intervals, and no word of which is better."""
    text = paired_table(compare_runs(write(tmp_path / "a", [0.1] * n), write(tmp_path / "b", [0.2] * n)))
    assert "-0.1000" in text and "nan" not in text
    assert n > 1 or not [line for line in text.splitlines() if line.startswith("|") and line.endswith((" A |", " B |"))]


def test_summary_has_distances_over_pairs_and_hashes(tmp_path):
    """To the run's own images, and to a reference that keeps its features; without them, the Frechet one only."""
    records = read_records(write(tmp_path / "a", [0.1] * 12))
    found = summary(records)
    first = found["levels"][0]["metrics"]
    assert found["networks"] == {"features": {"sha256": "a" * 64}}
    assert first["kernel"]["n"] == first["precision"]["reference_n"] == 12 and first["precision"]["neighbours"] == 3
    assert found["levels"][1]["difference_to_first"]["kernel"]["value"] > 0
    other = torch.randn(30, 6, generator=torch.Generator().manual_seed(7))
    for keep in (True, False):
        Statistics.from_features(other, keep=keep).save(tmp_path / "reference.safetensors")
        metrics = summary(records, Statistics.load(tmp_path / "reference.safetensors"))["levels"][0]["metrics"]
        assert ("recall" in metrics) == keep and "frechet" in metrics
        assert not keep or metrics["recall"]["reference_n"] == 30


def test_infinite_figures_are_left_out_in_pairs(tmp_path):
    """An infinite PSNR in one run and a sample without features in the other."""
    a, b = write(tmp_path / "a", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), write(tmp_path / "b", [0.2] * 6, levels=(0,))
    rows, vector = [Row("s0", 0, metrics={"rmse": 0.0, "psnr": float("inf")})], torch.full((1, 6), torch.nan)
    RecordWriter(a).write([*rows, Row("s6", 0, metrics={"rmse": 0.1, "psnr": 9.0})], "t0")
    RecordWriter(b).write(
        [Row("s6", 0, metrics={"rmse": 0.1, "psnr": 9.0})], "t0", [Vectors(["s6"], 0, "restored", vector)], "n"
    )
    (level,) = compare_runs(a, b)["levels"]
    psnr = level["metrics"]["psnr"]
    assert level["n"] == 7 and psnr["n"] == 6
    assert (
        psnr["run"] - psnr["other"] == pytest.approx(psnr["difference"]) == pytest.approx((-0.1 - 0.2 - 0.3 - 0.4) / 6)
    )
    assert level["metrics"]["sqrt_frechet"]["n"] == 6
    text = paired_table(compare_runs(a, b))
    assert (
        "Infinite or missing figures are left out in pairs. Smaller n: PSNR of 6 of 7 (A 0, B 0); √FD of 6 of 7" in text
    )
