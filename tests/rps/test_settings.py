"""Numbers that samplers and estimators take are refused where they mean nothing, in a sentence that names them."""

import inspect

import pytest

from rps import estimators, samplers
from rps.estimators.base import Estimator
from rps.samplers.base import Sampler
from tests.rps.solvers import kinds

NUMBERS = [
    pytest.param(kind, name, id=f"{kind.__name__}-{name}")
    for package, base in ((samplers, Sampler), (estimators, Estimator))
    for kind in kinds(package, base).values()
    for name, parameter in inspect.signature(kind).parameters.items()
    if "float" in str(parameter.annotation)
]


def test_numbers_are_found():
    assert {"Dps-step_size", "MapEstimator-w", "LatentDaps-tau", "Sitcom-lam"} <= {p.id for p in NUMBERS}


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), "a"])
@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_it_is_neither_negative_nor_infinite(kind, name, value):
    with pytest.raises(ValueError, match=rf"\b{name}\b.*\bgot\b.*{value}"):
        kind(**{name: value})
