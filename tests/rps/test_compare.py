"""Two runs compared on the samples that both have; distances over pairs, and hashes, in the summary."""

import pytest
import torch

from rps.metrics import Statistics
from rps.records import RecordWriter, Row, Vectors, read_records, summary
from rps.report import compare, comparison_table


def write(folder, rmse, seed=0, knob="t0", network="n", sha256="a" * 64, levels=(0, 100)):
    """A run of samples s0, s1, ... with these errors at every level, and features of them and of the clean images."""
    ids = [f"s{i}" for i in range(len(rmse))]
    clean = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))[: len(ids)]
    noise = torch.randn(50, 6, generator=torch.Generator().manual_seed(seed))[: len(ids)]
    rows = [Row(id_, level, metrics={"rmse": e}) for level in levels for id_, e in zip(ids, rmse, strict=True)]
    vectors = [Vectors(ids, level, "restored", clean + (0.1 + level / 100) * noise) for level in levels]
    vectors.append(Vectors(ids, None, "reference", clean))
    RecordWriter(folder).write(rows, knob, vectors, network, {"features": sha256})
    return folder


def test_differences_are_paired_on_common_samples(tmp_path):
    """The second run lacks the last sample; b = a - .01 on each of the others, so the error of the mean is nearly 0."""
    errors = torch.linspace(0.1, 0.9, 9).tolist()
    a = write(tmp_path / "a", errors)
    b = write(tmp_path / "b", [e - 0.01 for e in errors[:8]], levels=(100, 200))
    found = compare(a, b)
    (level,) = found["levels"]
    assert level["level"] == 100 and level["n"] == 8
    assert level["rmse"]["mean"] == pytest.approx(0.01) and level["rmse"]["se"] < 1e-9
    assert level["sqrt_frechet"]["value"] == pytest.approx(0, abs=1e-6)
    assert level["kernel"]["value"] == pytest.approx(0, abs=1e-6)
    assert "0.0100 ± 0.0000 *" in comparison_table(found)


def test_distances_of_different_networks_are_not_compared(tmp_path):
    a = write(tmp_path / "a", [0.1] * 6)
    for name, other in (("b", {"network": "m"}), ("c", {"sha256": "b" * 64})):
        (level, _) = compare(a, write(tmp_path / name, [0.2] * 6, **other))["levels"]
        assert level["rmse"]["mean"] == pytest.approx(-0.1) and "sqrt_frechet" not in level and "kernel" not in level


@pytest.mark.parametrize(
    ("other", "sentence"),
    [({"knob": "lambda"}, "'t0' .* 'lambda' .* cannot be compared"), ({"levels": (5,)}, "none is common to both")],
)
def test_what_cannot_be_compared(tmp_path, other, sentence):
    with pytest.raises(ValueError, match=sentence):
        compare(write(tmp_path / "a", [0.1] * 4), write(tmp_path / "b", [0.1] * 4, **other))


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
