"""What `import rps` gives: rooms, names and a short dir, all imported on first use."""

import subprocess
import sys

import pytest

import rps
from rps.records.changes import changes

ROOMS = ("estimators", "operators", "priors", "samplers", "traversals")


def test_every_name_of_a_room_is_a_name_of_rps():
    for room in ROOMS:
        for name in getattr(rps, room).__all__:
            assert getattr(rps, name) is getattr(getattr(rps, room), name)
    names = {name for room in ROOMS for name in getattr(rps, room).__all__}
    assert set(rps.__all__) == names | {"Measurement", "Prediction", "Restoration", "Streams", "degrade", "measured"}


def test_dir_is_short_and_true():
    listed = dir(rps)
    assert {*ROOMS, "metrics", "MapRps", "Dps", "EmbeddedPrior", "SuperResolution", "degrade"} <= set(listed)
    assert len(listed) <= 40 and [name for name in listed if name.startswith("_")] == ["__version__"]
    assert all(hasattr(rps, name) for name in listed)


def test_what_there_is_not_is_said():
    with pytest.raises(AttributeError, match="has no attribute 'Dsp'; its rooms are estimators, operators"):
        rps.Dsp  # noqa: B018
    assert not hasattr(rps, "__wrapped__")


@pytest.mark.slow
def test_importing_it_imports_nothing_else_until_it_is_used():
    """In a process of its own: neither `import rps`, nor that of the command, nor of rooms without networks."""
    code = """
import sys
import rps, rps.cli
dir(rps)
assert not {"torch", "numpy", "diffusers", "lightning", "jsonargparse"} & set(sys.modules)
import rps.metrics, rps.records, rps.report
heavy = {"lightning", "matplotlib", "PIL", "pyarrow", "timm", "lpips", "torchmetrics", "torchvision", "datasets"}
assert not heavy & set(sys.modules)
rps.samplers.Dps, rps.metrics.Rmse, rps.operators, rps.estimators, rps.traversals, rps.priors, rps.noise.Poisson
from rps import *
MapRps(300, sampler=VsDps(0.5)), Inpaint(0.3), RedDiff(), degrade, ChainAverage
assert "lightning" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_either_name_of_a_class_is_the_same_setting():
    """The parser writes rps.Dps or rps.samplers.Dps; a run that began with one resumes with the other."""

    def config(sampler: str) -> dict:
        return {"model": {"init_args": {"sampler": {"class_path": sampler}}}}

    assert changes(config("rps.samplers.Dps"), config("rps.Dps")) == []
    (phrase,) = changes(config("rps.samplers.Dps"), config("rps.VsDps"))
    assert phrase == 'model.sampler was "rps.samplers.Dps" and is now "rps.VsDps"'
    assert changes(config("rps.samplers.Dps"), config("mine.Dps")) != []
