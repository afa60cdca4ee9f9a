"""Operators against their published definitions, and against the algebra that solvers rely on."""

import copy
import pickle

import pytest
import torch

from rps.measurement import degrade
from rps.operators import AnisotropicBlur, Inpaint, PhaseRetrieval, check_operator, conjugate_gradient
from tests.rps.operator_cases import LINEAR, OPERATORS, SPECTRAL, bind, images
from tests.rps.solvers import close, reachable


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 16, 16)])
@pytest.mark.parametrize("name", OPERATORS)
def test_contract(name, shape):
    assert check_operator(OPERATORS[name], shape) == []


@pytest.mark.parametrize("name", OPERATORS)
def test_same_id_same_bits_in_any_batch(name):
    """Random parameters and A(x) of an id, as degrade measures them: alone, in another order, and after rows()."""
    x, ids = images(5, dtype=torch.float32), ["a", "b", "c", "d", "e"]
    whole = degrade(x, OPERATORS[name], 0.1, ids, seed=3)
    assert whole.y.dtype == torch.float32 and whole.y.isfinite().all()
    for order in ([3], [4, 1, 0]):
        part = degrade(x[order], OPERATORS[name], 0.1, [ids[i] for i in order], seed=3)
        assert torch.equal(part.y, whole.y[order])
        for parameter in OPERATORS[name].per_sample:
            assert torch.equal(getattr(part.operator, parameter), getattr(whole.operator, parameter)[order])
        torch.testing.assert_close(whole.rows(torch.tensor(order)).residual(x[order]), part.residual(x[order]))


@pytest.mark.parametrize("name", OPERATORS)
def test_a_measurement_holds_no_clean_image(name):
    """Whatever can be reached from what a solver is given: y, the operator, the random numbers."""
    x = images(2)
    measurement = degrade(x, OPERATORS[name], 0.2)
    assert not measurement.y.requires_grad
    found = list(reachable(measurement))
    assert any(tensor is measurement.y for tensor in found)
    for tensor in found:
        if tensor.numel() in (x.numel(), x[0].numel()) and tensor.is_floating_point():
            for image in x:
                assert not close(tensor.double().flatten()[: image.numel()], image.flatten(), 1e-3)


def test_a_clean_image_that_is_kept_would_be_found():
    x = images(1)
    measurement = degrade(x, Inpaint(), 0.2)
    measurement.noise.add = lambda clean, streams: x  # type: ignore[method-assign]
    assert any(tensor is x for tensor in reachable(measurement))


@pytest.mark.parametrize("name", OPERATORS)
def test_an_image_that_is_not_a_number_leaves_the_others_alone(name):
    x, operator = images(3), bind(OPERATORS[name], n=3)
    good = operator(x)
    x[1] = float("nan")
    assert close(operator(x)[[0, 2]], good[[0, 2]], 1e-6)
    assert close(operator.pinv(operator(x), 0.1)[[0, 2]], operator.pinv(good, 0.1)[[0, 2]], 1e-6)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e6])
def test_finite_on_extreme_input(name, size):
    """A(x), its gradient and an image to start from in single precision, for images of one grey as well."""
    x = (size * images(2).sign()).float().requires_grad_()
    x.data[1] = size
    operator = bind(OPERATORS[name], n=2)
    y = operator(x)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    start = operator.pinv(y.detach(), 0.1)
    assert {v.dtype for v in (y, gradient, start)} == {torch.float32} and start.shape == x.shape
    assert all(v.isfinite().all() for v in (y, gradient, start))


@pytest.mark.parametrize("name", OPERATORS)
def test_gradients_only_where_they_are_asked_for(name):
    """Weights take none, and no graph is made of an image that takes none."""
    operator = bind(OPERATORS[name], n=2)
    assert not any(weight.requires_grad for weight in operator.parameters())
    y = operator(images(2))
    assert not y.requires_grad and not operator.pinv(y, 0.1).requires_grad


@pytest.mark.parametrize("name", LINEAR)
def test_algebra_against_the_dense_matrix(name):
    """forward, A^T, A^+ with and without rcond: what numpy says of the matrix of each row."""
    operator = bind(OPERATORS[name], (2, 16, 16), n=2)
    x = images(2, (2, 16, 16))
    y = operator(x)
    for row in range(2):
        one = operator.rows(slice(row, row + 1))
        a, image, measured = one.matrix(torch.float64), x[row : row + 1], y[row : row + 1]
        torch.testing.assert_close(measured.flatten(), a @ image.flatten())
        torch.testing.assert_close(one.adjoint(measured).flatten(), a.T @ measured.flatten())
        if name in SPECTRAL:
            u, s, vt = torch.linalg.svd(a, full_matrices=False)
            for rcond in (1e-3, 0.1, 0.9):
                expected = vt.T @ (torch.where(s > rcond * s[0], 1 / s, 0.0) * (u.T @ measured.flatten()))
                torch.testing.assert_close(one.pinv(measured, rcond).flatten(), expected, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("name", LINEAR)
def test_single_precision(name):
    """A A^+ A = A (to 1e-4 where A^+ is exact) and results in float32, equal to those in float64 within rounding."""
    operator, x = bind(OPERATORS[name]), images()
    y = operator(x.float())
    assert y.dtype == torch.float32
    assert (y - operator(x)).norm() < 1e-6 * y.norm()
    back = operator.adjoint(y)
    assert back.dtype == torch.float32
    assert (back - operator.adjoint(operator(x))).norm() < 1e-6 * back.norm()
    image = operator.pinv(y)
    assert image.dtype == torch.float32
    assert (operator(image) - y).norm() < (1e-4 if name in SPECTRAL else 1e-2) * y.norm()


@pytest.mark.parametrize("name", LINEAR)
def test_twice_differentiable(name):
    operator = bind(OPERATORS[name], (1, 16, 16), n=1)
    x = images(1, (1, 16, 16)).requires_grad_()
    (gradient,) = torch.autograd.grad(operator(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    a = operator.matrix(torch.float64)
    torch.testing.assert_close(second.flatten(), 8 * a.T @ a @ a.T @ a @ x.detach().flatten())


@pytest.mark.parametrize("name", OPERATORS)
def test_empty_batch(name):
    operator, some = bind(OPERATORS[name], n=0), bind(OPERATORS[name])(images())
    x = images(0).requires_grad_()
    y = operator(x)
    assert y.shape == (0, *some.shape[1:])
    found = [operator.pinv(y, 0.1), torch.autograd.grad(y.sum(), x)[0]]
    found += [operator.adjoint(y)] if name in LINEAR else []
    assert {image.shape for image in found} == {x.shape}


@pytest.mark.parametrize("name", SPECTRAL)
def test_rows_at_different_noise_levels_get_gains_of_their_own(name):
    """s / (r^2 s^2 + sigma^2) with one r^2 per row is A^T (r^2 A A^T + sigma^2 I)^-1 y of each row."""
    operator, r2 = bind(OPERATORS[name], (1, 16, 16), n=2), torch.tensor([0.3, 2.0]).view(2, 1, 1, 1)
    y = operator(images(2, (1, 16, 16)))
    found = operator.spectral(y, lambda s: s / (r2 * s**2 + 0.01))
    for row in range(2):
        a = operator.rows(slice(row, row + 1)).matrix()
        system = float(r2[row]) * a @ a.T + 0.01 * torch.eye(len(a))
        torch.testing.assert_close(found[row].flatten(), a.T @ torch.linalg.solve(system, y[row].flatten()))


@pytest.mark.parametrize("name", OPERATORS)
def test_copies_and_pickles_before_and_after_bind(name):
    operator, x = OPERATORS[name], images()
    y = bind(operator)(x)
    for other in (copy.deepcopy(operator), pickle.loads(pickle.dumps(operator))):
        assert torch.equal(bind(other)(x), y)
    assert torch.equal(pickle.loads(pickle.dumps(bind(operator)))(x), y)


@pytest.mark.parametrize("name", [n for n in LINEAR if bind(OPERATORS[n]).bound_rows() is not None])
def test_rows_of_another_number_are_refused(name):
    with pytest.raises(ValueError, match=r"bound to 4 images, got 5; use operator.rows"):
        bind(OPERATORS[name])(images(5))
    with pytest.raises(ValueError, match=r"this .* is bound to 4 rows, but matrix\(\) needs one"):
        bind(OPERATORS[name]).matrix()


@pytest.mark.parametrize("operator", [Inpaint(), AnisotropicBlur(), PhaseRetrieval()])
def test_unbound_operators_say_so(operator):
    with pytest.raises(RuntimeError, match="is not bound; call"):
        operator.pinv(images()) if isinstance(operator, PhaseRetrieval) else operator(images())


def test_conjugate_gradient_solves_each_row_by_itself():
    root = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    matrix = root @ root.mT + 0.1 * torch.eye(8)
    b = torch.randn(3, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    b[1] = float("nan")
    x = conjugate_gradient(lambda v: (matrix @ v.unsqueeze(-1)).squeeze(-1), b, tolerance=1e-10)
    torch.testing.assert_close(x[[0, 2]], torch.linalg.solve(matrix[[0, 2]], b[[0, 2]]))
    assert x[1].isnan().all()
    assert conjugate_gradient(lambda v: v, b[1:2]).isnan().all() and conjugate_gradient(lambda v: v, b[:0]).numel() == 0
