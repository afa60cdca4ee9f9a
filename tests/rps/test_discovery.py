"""The contract tests find what there is by looking into the packages: a new part is tested by being there."""

import sys

import pytest

import modules
from rps import estimators, operators, samplers, traversals
from tests.modules.test_module_contract import MODULES
from tests.rps.operator_cases import BOUND, OPERATORS
from tests.rps.solvers import ESTIMATORS, SAMPLERS, TRAVERSALS, instances, kinds

ROOMS = {
    "estimators": (estimators, estimators.Estimator, ESTIMATORS),
    "modules": (modules, modules.SolverModule, MODULES),
    "operators": (operators, operators.Operator, {type(o).__name__ for o in (*OPERATORS.values(), *BOUND.values())}),
    "samplers": (samplers, samplers.Sampler, SAMPLERS),
    "traversals": (traversals, traversals.Traversal, TRAVERSALS),
}
NEW = {
    "samplers": "from rps.samplers.dps import Dps\n\nclass Newcomer(Dps):\n    '''DPS of another name.'''\n",
    "estimators": "from rps.estimators.base import Estimator\n\nclass Newcomer(Estimator):\n"
    "    def estimate(self, measurement, prior):\n        return measurement.y\n",
    "operators": "from rps.operators.base import Operator\n\nclass Newcomer(Operator):\n"
    "    def forward(self, x):\n        return x**2\n",
    "traversals": "from rps.traversals.ccdf import Ccdf\n\nclass Newcomer(Ccdf):\n    '''CCDF of another name.'''\n",
}


def test_operators_that_need_arguments_are_tested_too():
    package, base, tested = ROOMS["operators"]
    assert set(kinds(package, base)) == set(tested)


@pytest.mark.parametrize("room", ROOMS)
def test_everything_there_is_is_exported(room):
    package, base, _ = ROOMS[room]
    assert set(kinds(package, base)) <= set(package.__all__)


@pytest.mark.parametrize("room", NEW)
def test_a_new_file_is_enough(room, tmp_path, monkeypatch):
    """A class in a file of its own in the package, which nobody imports, is found; one that is not finished is not."""
    package, base, tested = ROOMS[room]
    unfinished = f"\nclass Unfinished({base.__name__}):\n    pass\n"
    text = f"from {base.__module__} import {base.__name__}\n" + NEW[room] + unfinished
    (tmp_path / "newcomer.py").write_text(text)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    try:
        assert set(kinds(package, base)) == set(tested) | {"Newcomer"}
    finally:
        sys.modules.pop(f"{package.__name__}.newcomer", None)
        vars(package).pop("newcomer", None)


def test_who_needs_arguments_must_be_given_some(tmp_path, monkeypatch):
    """Rather than being left out in silence."""
    (tmp_path / "demanding.py").write_text(
        "from rps.samplers.dps import Dps\n\nclass Demanding(Dps):\n    def __init__(self, scale):\n        pass\n"
    )
    monkeypatch.setattr(samplers, "__path__", [*samplers.__path__, str(tmp_path)])
    try:
        with pytest.raises(TypeError, match="missing 1 required positional argument: 'scale'"):
            instances(samplers, samplers.Sampler)
    finally:
        sys.modules.pop("rps.samplers.demanding", None)
        vars(samplers).pop("demanding", None)
