"""check_operator finds what is wrong, and nothing where nothing is; a user's operator needs forward alone."""

import re

import pytest
import torch
import torch.nn.functional as F

from rps.operators import Denoise, LinearCompose, LinearOperator, Operator, SpectralOperator, check_operator
from rps.operators.check import check_foreign
from rps.randomness import Streams


class Tilted(LinearOperator):
    """A user's linear operator, y = x_{i,j} + 0.5 x_{i,j+1} at every other row: forward and nothing else."""

    def forward(self, x):
        return (x + 0.5 * F.pad(x, (0, 1))[..., 1:])[..., ::2, :]


class Clipped(Operator):
    """A user's nonlinear operator (high dynamic range)."""

    def forward(self, x):
        return (2 * x).clamp(-1, 1)


class PhaseRetrieval(Operator):
    """Nonlinear, and its measurement is no image of the same size."""

    def forward(self, x):
        return torch.fft.fft2(F.pad(x, (2, 2, 2, 2)), norm="ortho").abs()


class Mixes(LinearOperator):
    def forward(self, x):
        return x - 0.5 * x.mean(0)


class NotDeterministic(LinearOperator):
    def forward(self, x):
        return x * torch.rand_like(x)


class WrongAdjoint(LinearOperator):
    def forward(self, x):
        return x.roll(1, -1)

    def adjoint(self, y):
        return y


class Affine(LinearOperator):
    def forward(self, x):
        return x + 1


class WrongInverse(LinearOperator):
    def forward(self, x):
        return 2 * x

    def pinv(self, y, rcond=0.0):
        return y


class HalfAnInverse(LinearOperator):
    """A A^+ A = A holds, A^+ A A^+ = A^+ does not: what is outside the range of A shows in the image."""

    def forward(self, x):
        return torch.cat([x[..., ::2], x[..., ::2]], -1)

    def pinv(self, y, rcond=0.0):
        first, second = y.chunk(2, -1)
        return torch.stack([first, first - second], -1).flatten(-2)


class WrongSingularValues(SpectralOperator):
    def forward(self, x):
        return 2 * x

    def spectral(self, y, gain):
        return gain(y.new_full((1, 1, 1, 1), 1.0)) * y


class ScalarSingularValues(Denoise):
    """s has the shape of the rows: constants per row would spread over channels."""

    def spectral(self, y, gain):
        return gain(y.new_ones(())).mean() * y


class Rounds(Operator):
    def forward(self, x):
        return x.round()


class Detaches(Operator):
    def forward(self, x):
        return x.detach()


class NotFinite(Operator):
    def forward(self, x):
        return x.log()


class InPlace(LinearOperator):
    def forward(self, x):
        return x.mul_(0.5)


class FloatOnly(LinearOperator):
    def __init__(self):
        super().__init__()
        self.kernel = torch.ones(1, 1, 3, 3)

    def forward(self, x):
        return F.conv2d(x.flatten(0, 1).unsqueeze(1), self.kernel).unflatten(0, x.shape[:2])


class Gains(LinearOperator):
    """Per-sample gains, right; the operators below spoil it in one way each."""

    per_sample = ("gain",)

    def bind(self, shape, streams):
        return self.bound(image_shape=shape, gain=self.draw(streams))

    def draw(self, streams):
        return streams.uniform((1, 1, 1)) + 0.5

    def forward(self, x):
        return self.gain.to(x) * x


class GainsFromGlobalState(Gains):
    def draw(self, streams):
        return torch.rand(len(streams), 1, 1, 1) + 0.5


class GainsNotNamed(Gains):
    per_sample = ()

    def forward(self, x):
        return self.gain[: len(x)].to(x) * x


class GainsOfTheBatch(Gains):
    def draw(self, streams):
        return streams.uniform((1, 1, 1)).cumsum(0)


class GainsInSelf(Gains):
    def bind(self, shape, streams):
        self.image_shape, self.gain = shape, self.draw(streams)
        return self

    def forward(self, x):
        return self.gain[:1].to(x) * x if len(x) != len(self.gain) else self.gain.to(x) * x


@pytest.mark.parametrize("operator", [Tilted(), Clipped(), PhaseRetrieval(), Gains(), Denoise()])
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 16, 16)])
def test_nothing_is_wrong(operator, shape):
    assert check_operator(operator, shape) == []


BROKEN = {
    Mixes: "mixes the images of a batch",
    NotDeterministic: "not deterministic: draw random parameters in bind",
    WrongAdjoint: "adjoint is not the transpose of forward",
    Affine: "forward is not linear",
    WrongInverse: "A A\\^\\+ A differs from A by 1.0e\\+00",
    HalfAnInverse: "A\\^\\+ A A\\^\\+ differs from A\\^\\+",
    WrongSingularValues: "f\\(s\\) = s is not A\\^T y",
    ScalarSingularValues: "keep s in four dimensions|spectral\\(y, gain\\) fails",
    Rounds: "gradient of forward is zero everywhere",
    Detaches: "forward is not differentiable",
    NotFinite: "not finite for images in \\[-1, 1\\]",
    InPlace: "changes x in place",
    FloatOnly: "float64 images fails.*let constants follow the images",
    GainsFromGlobalState: "bind gives different operators for the same ids",
    GainsNotNamed: "list the attributes whose first dimension is the batch in per_sample",
    GainsOfTheBatch: "depends on the other ids of its batch",
    GainsInSelf: "per_sample|leave self unchanged",
    Operator: "must define forward\\(x\\)",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_wrong_is_said(broken):
    faults = check_operator(broken(), (1, 16, 16))
    assert any(re.search(BROKEN[broken], fault) for fault in faults), faults
    assert len(faults) == 1, faults


@pytest.mark.parametrize("broken", [Mixes, NotDeterministic, Affine, NotFinite, GainsNotNamed, GainsFromGlobalState])
def test_a_foreign_operator_with_a_gross_fault_is_refused(broken):
    name = broken.__name__
    for operator in (broken(), LinearCompose([Denoise(), broken()])):
        with pytest.raises(ValueError, match=f"test_check_operator.{name}: .*rps.check_operator.{name}"):
            check_foreign(operator, (1, 8, 8))


@pytest.mark.parametrize("sound", [Tilted, Clipped, PhaseRetrieval, Gains, FloatOnly, Rounds, WrongAdjoint, Operator])
def test_no_other_operator_is_refused(sound):
    check_foreign(sound(), (1, 8, 8))


def test_a_class_is_not_an_operator():
    with pytest.raises(ValueError, match=r"operator must be an rps.operators.Operator .* the class Tilted; call it"):
        check_operator(Tilted)


def test_forward_alone_gives_adjoint_and_pseudo_inverse():
    """Against the dense matrix: A^T exactly, A^+ by conjugate gradients."""
    operator = Tilted().bind((2, 8, 8), Streams(0, ["a", "b"]))
    y = torch.randn(2, 2, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = operator.matrix(torch.float64)
    assert a.shape == (2 * 4 * 8, 2 * 8 * 8)
    torch.testing.assert_close(operator.adjoint(y).flatten(1), y.flatten(1) @ a)
    torch.testing.assert_close(operator.pinv(y).flatten(1), y.flatten(1) @ torch.linalg.pinv(a).T, atol=1e-5, rtol=0)
    rough = operator.pinv(y, rcond=0.3)
    assert 1e-5 < (rough - operator.pinv(y)).norm() / y.norm() < 0.5


def test_the_adjoint_from_autograd_can_be_differentiated():
    operator = Tilted().bind((1, 4, 4), Streams(0, ["a"]))
    y = torch.ones(1, 1, 2, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(operator.adjoint(y).square().sum(), y)
    torch.testing.assert_close(gradient, 2 * operator(operator.adjoint(y.detach())))
    with torch.no_grad():
        assert not operator.adjoint(y).requires_grad


def test_a_nonlinear_operator_starts_from_its_measurement_if_that_is_an_image():
    y = torch.ones(1, 1, 4, 4)
    assert Clipped().pinv(y) is y
    with pytest.raises(ValueError, match="define pinv"):
        Clipped().pinv(torch.ones(1, 7))
    with pytest.raises(RuntimeError, match="is not bound"):
        Tilted().adjoint(y)
