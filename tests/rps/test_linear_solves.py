"""Functions of the singular values, of operators that know them and of those that do not."""

import pytest
import torch

from rps.measurement import degrade
from rps.operators import AnisotropicBlur, Inpaint, LinearOperator, SuperResolution
from rps.samplers.linear import guidance, krylov, spectral
from tests.rps.gaussian import DIM, SHAPE, correlated_prior, draw

OPERATORS = {"sr2": SuperResolution(2), "inpaint": Inpaint(0.5), "blur": AnisotropicBlur(3, 1.0, 2.0)}


class Tall(LinearOperator):
    """More measurements than pixels, singular values of all sizes, and a measurement that is no image."""

    def forward(self, x):
        generator = torch.Generator().manual_seed(3)
        matrix = torch.randn(20, DIM, generator=generator, dtype=torch.float64) @ torch.diag(
            torch.logspace(0, -3, DIM).double()
        )
        return x.flatten(1) @ matrix.T.to(x)


@pytest.mark.parametrize("operator", [*OPERATORS.values(), Tall()])
def test_guidance_against_the_dense_matrix(operator):
    """A^T (r^2 A A^T + s^2 I)^-1 e, with an r of its own in each row, with and without spectral, and for s = 0."""
    measurement = degrade(draw(correlated_prior(), 3), operator, 0.1)
    e, r2 = measurement.y, torch.tensor([0.01, 1.0, 50.0], dtype=torch.float64).view(3, 1, 1, 1)
    for noise_std in (0.1, 0.0):
        found = guidance(measurement.operator, e, r2, noise_std)
        for row in range(3):
            a = measurement.operator.rows(slice(row, row + 1)).matrix(torch.float64)
            inverse = torch.linalg.pinv(r2[row, 0, 0, 0] * a @ a.T + noise_std**2 * torch.eye(len(a)), rtol=1e-10)
            torch.testing.assert_close(found[row].flatten(), a.T @ inverse @ e[row].flatten(), rtol=1e-4, atol=1e-6)


GAINS = {
    "adjoint": lambda s: s,
    "pinv": lambda s: 1 / s,
    "ridge": lambda s: s / (s**2 + 0.01),
    "kink": lambda s: torch.minimum(s, torch.full_like(s, 0.3)) / s,
    "cubic, per row": lambda s: torch.tensor([1.0, 2.0, -1.0], dtype=s.dtype).view(3, 1, 1, 1) * s**3,
}


@pytest.mark.parametrize("gain", GAINS)
@pytest.mark.parametrize("name", OPERATORS)
def test_krylov_is_the_closed_form(name, gain):
    measurement = degrade(draw(correlated_prior(), 3), OPERATORS[name], 0.1)
    found = krylov(measurement.operator, measurement.y, GAINS[gain])
    torch.testing.assert_close(found, measurement.operator.spectral(measurement.y, GAINS[gain]), rtol=1e-6, atol=1e-6)


def test_krylov_row_by_row():
    """A row of zeros, one that is not a number, and one that is huge stand beside each other; single precision too."""
    operator = degrade(draw(correlated_prior(), 4), OPERATORS["blur"], 0.1).operator
    y = draw(correlated_prior(), 4).clone()
    y[0], y[1], y[2] = 0.0, float("nan"), 1e6 * y[2]
    found = krylov(operator, y, GAINS["ridge"])
    assert torch.equal(found[0], torch.zeros(SHAPE, dtype=torch.float64)) and torch.isnan(found[1]).all()
    alone = krylov(operator, y[3:], GAINS["ridge"])
    torch.testing.assert_close(found[3:], alone, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[2:3], 1e6 * krylov(operator, y[2:3] / 1e6, GAINS["ridge"]))
    torch.testing.assert_close(krylov(operator, y.float(), GAINS["ridge"])[3:], alone.float(), rtol=1e-4, atol=1e-5)
    assert krylov(operator, y[:0], GAINS["ridge"]).shape == (0, *SHAPE)


def test_spectral_leaves_no_graph():
    y = draw(correlated_prior(), 2).requires_grad_()
    for operator in (OPERATORS["sr2"], Tall()):
        bound = degrade(y.detach(), operator, 0.1).operator
        assert not spectral(bound, bound(y), lambda s: s).requires_grad
