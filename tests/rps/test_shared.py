"""Shared: one draw of an operator's random parameters for the whole run."""

import pytest
import torch

from rps.operators import CompressedSensing, Inpaint, LegacyInpaint, LinearOperator, MotionBlur, Shared
from rps.randomness import Streams


class Gain(LinearOperator):
    """A user's: y = g x, g drawn for each sample."""

    per_sample = ("gain",)

    def bind(self, shape, streams):
        return self.bound(image_shape=shape, gain=streams.uniform((1, 1, 1)))

    def forward(self, x):
        return self.gain.to(x) * x


@pytest.mark.parametrize("operator", [Inpaint(0.5), CompressedSensing(2), MotionBlur(5), LegacyInpaint(), Gain()])
def test_the_draw_depends_on_its_own_seed_alone_and_is_of_all_rows(operator):
    def drawn(seed, run_seed=0, ids=("a", "b")):
        bound = Shared(operator, seed).bind((1, 8, 8), Streams(run_seed, ids))
        assert type(bound) is type(operator)
        return getattr(bound, operator.per_sample[0])

    first = drawn(0)
    assert torch.equal(first[0], first[1]) and torch.equal(first, drawn(0, 1, ("c", "d")))
    assert not torch.equal(first, drawn(1)) and drawn(0, ids=()).shape[0] == 0
    own = operator.bind((1, 8, 8), Streams(0, ["a", "b"]))
    assert not torch.equal(*getattr(own, operator.per_sample[0]))
