"""When a point of another run counts as better than a run's own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
from dominance import dominated


def level(rmse=0.03, distance=0.05, se=0.01, own=40.0, other=40.0, name="forward_equivalents"):
    """An entry of compare_runs: the run is worse by `rmse` and `distance`."""
    return {
        "metrics": {key: {"difference": d, "se": se} for key, d in (("rmse", rmse), ("sqrt_frechet", distance))},
        "cost": {"name": name, "run": own, "other": other},
    }


def test_both_differences_must_exceed_their_standard_errors():
    assert dominated(level(), equal_cost=False)
    assert not dominated(level(rmse=0.009), equal_cost=False)
    assert not dominated(level(distance=0.009), equal_cost=False)
    assert not dominated(level(rmse=-0.03), equal_cost=False)


def test_a_dearer_point_does_not_count_at_equal_cost():
    assert dominated(level(other=40.0), equal_cost=True)
    assert not dominated(level(other=40.1), equal_cost=True)
    assert dominated(level(other=40.1), equal_cost=False)
    with pytest.raises(ValueError, match="needs runs that count forward equivalents"):
        dominated(level(name="network_calls"), equal_cost=True)
