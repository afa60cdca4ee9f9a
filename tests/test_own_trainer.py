"""Runs of one's own Trainer, which have no config.yaml: what resumes them, what is refused, what is compared."""

import copy
import json
from pathlib import Path

import numpy
import pyarrow.parquet
import pytest
import torch

from modules import MapRps, VarianceScaling
from rps.callbacks import MetricRecorder
from rps.cli import main
from rps.estimators import MapEstimator, ProximalMap
from rps.operators import Denoise, LinearOperator, SuperResolution
from rps.priors import Prior
from rps.protocol import RunModule
from rps.records.module_settings import module_settings
from rps.records.rows import META
from rps.samplers import PiGdm
from rps.shown import Shown
from tests.resume_fakes import EveryOther, Greys, White, metrics
from tests.rps.test_shown import THINGS
from tests.trainers import quiet

USUAL = {"prior": White, "operator": EveryOther, "noise": 0.1, "t0": [0, 50], "steps": 3, "estimator": MapEstimator(2)}


def predict(count: int = 3, kind=MapRps, root: str = "run", **changed):
    """A run of its own script.  -> the ids that were restored."""
    given = {**USUAL, **changed} if kind is MapRps else changed
    module = kind(**{name: value() if isinstance(value, type) else value for name, value in given.items()})
    trainer = quiet(callbacks=[MetricRecorder()], default_root_dir=root)
    found = trainer.predict(module, datamodule=Greys(count, batch_size=2))
    return [id_ for prediction in found for id_ in prediction.ids]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"operator": SuperResolution(2), "noise": 1.0, "seed": 7}, "operator was EveryOther and is now Super"),
        ({"operator": EveryOther(8.0)}, "operator.refuse_above was 9.0 and is now 8.0;"),
        ({"noise": 1.0}, "noise.std was 0.1 and is now 1.0;"),
        ({"seed": 7}, "seed was 0 and is now 7;"),
        ({"steps": 4}, "traversal.steps was 3 and is now 4;"),
        ({"estimator": MapEstimator(3)}, "traversal.estimator.num_steps was 2 and is now 3;"),
        ({"estimator": ProximalMap(2)}, "traversal.estimator was MapEstimator and is now ProximalMap"),
        ({"sampler": PiGdm()}, "traversal.sampler was Dps and is now PiGdm"),
        ({"prior": White(nan_above=8.0)}, "prior.nan_above was 9.0 and is now 8.0;"),
    ],
)  # fmt: skip
def test_another_module_is_refused_before_anything_is_restored(changed, difference):
    predict()
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"^the records in run were made with other inputs") as refused:
        predict(4, **changed)
    assert difference in str(refused.value) and "give another default_root_dir" in str(refused.value)
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_the_same_script_resumes_and_more_levels_and_samples_extend(capsys):
    assert predict() == ["00", "01", "02"] and "resuming" not in capsys.readouterr().err
    before = metrics()
    assert predict() == [] and metrics() == before
    assert "rps: resuming run: 3 samples are done\n" in capsys.readouterr().err
    assert predict(t0=[90, 50, 0], micro_batch=1) == ["00", "01", "02"], "at the level that they lack"
    assert predict(4, noise=0.1, estimator=MapEstimator(2)) == ["03"]
    assert [(level["level"], level["n"]) for level in metrics()["levels"]] == [(0, 4), (50, 4), (90, 3)]


def test_a_setting_with_a_value_for_each_level_is_compared_at_the_levels_of_both():
    def sweep(levels, step_size):
        task = {"prior": White, "operator": EveryOther, "noise": 0.1, "steps": 2}
        return predict(1, VarianceScaling, levels=levels, step_size=step_size, **task)

    assert sweep([0.5, 1.0], 0.3) == ["00"]
    assert sweep([1.0, 0.8], [0.3, 0.2]) == ["00"] and sweep([0.8, 0.5], [0.2, 0.3]) == []
    with pytest.raises(ValueError, match=r"traversal.step_size.0.8 was 0.2 and is now 0.3;"):
        sweep([0.8], 0.3)


def test_a_run_of_an_earlier_version_resumes():
    """Whose records do not tell what the module was."""
    predict()
    for path in Path("run/records").iterdir():
        table = pyarrow.parquet.read_table(path)
        about = json.loads(table.schema.metadata[META])
        assert about["origin"].pop("module")["operator"] == "EveryOther"
        pyarrow.parquet.write_table(table.replace_schema_metadata({META: json.dumps(about)}), path)
    assert predict(4, noise=0.2) == ["03"]


class Parts(RunModule):
    def __init__(self, **parts):
        self.parts = parts

    def result_settings(self):
        return self.parts


def test_no_address_and_no_tensor_is_part_of_the_comparison():
    class Strange:
        pass

    class Own(LinearOperator):
        def __init__(self, strange, weights, function, numbers, batch_size=1):
            super().__init__()
            self.strange, self.weights, self.function, self.numbers = strange, weights, function, numbers
            self.batch_size = batch_size

    def found(generator):
        weights = torch.rand(3, generator=generator)
        own = Own(Strange(), weights, lambda x: x, numpy.float32(2), int(8 * weights[0]))
        return module_settings(Parts(operator=own, traversal=Strange(), noise=weights.numpy(), seed=None))

    generator = torch.Generator().manual_seed(0)
    first = found(generator)
    assert found(generator) == first == {
        "module": "Parts", "operator": "Own", "operator.strange": "Strange", "operator.weights": "Tensor",
        "operator.function": "function", "operator.numbers": 2.0, "traversal": "Strange", "noise": "ndarray",
        "seed": None,
    }  # fmt: skip


@pytest.mark.parametrize("name", THINGS)
def test_a_class_of_ours_is_plain_values_that_its_copy_has_too(name):
    thing = THINGS[name]
    found = module_settings(Parts(it=thing))
    assert found["it"] == type(thing).__name__ and json.loads(json.dumps(found)) == found
    assert module_settings(Parts(it=copy.deepcopy(thing))) == found and "0x" not in json.dumps(found)
    assert isinstance(thing, Shown | Prior)


def test_lists_differ_in_their_middle_and_in_their_length():
    def settings(*operators, numbers=()):
        return module_settings(Parts(operators=operators, numbers=numbers))

    assert settings(Denoise(), SuperResolution(2))["operators"] == ["Denoise", "SuperResolution"]
    assert settings(Denoise(), SuperResolution(2))["operators.1.factor"] == 2
    long = list(range(1000))
    assert settings(numbers=long) == settings(numbers=tuple(long)) != settings(numbers=[*long[:500], 0, *long[501:]])
    assert len(json.dumps(settings(numbers=long))) < 200


@pytest.mark.slow
def test_runs_of_different_tasks_are_not_compared(capsys):
    predict(root="a")
    predict(root="b", operator=SuperResolution(2), noise=1.0)
    predict(root="c", estimator=MapEstimator(3))
    for command in (["compare"], ["report", "--output", "page.html"]):
        assert main([*command, "a", "b"]) == 2
        said = capsys.readouterr().err
        assert 'a and b have different tasks and cannot be compared: operator is "EveryOther" in one' in said
        assert main([*command, "a", "c"]) == 0
        capsys.readouterr()
