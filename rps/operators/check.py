"""check_operator describes what is wrong with an operator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

import torch
from torch import Tensor

from rps.operators.base import LinearOperator, Operator, SpectralOperator
from rps.randomness import Streams
from rps.settings import check_part

IDS = ("a", "b", "c", "d")
TOLERANCE = 1e-5
COARSE = 1e-2
"""Tolerance in single precision, in which a GPU may round products to 10 bits."""


def check_operator(
    operator: Operator, shape: tuple[int, int, int] = (3, 32, 32), seed: int = 0, ids: Sequence[str] = IDS
) -> list[str]:
    """A list of the faults of this operator, one sentence each; empty if there are none.

    Binds it to four random images and tests what solvers rely on: each image is treated by itself, equal ids give equal
    results, rows can be selected, values and gradients are finite. For a LinearOperator also linearity,
    <A x, v> = <x, A^T v>, A A^+ A = A and A^+ A A^+ = A^+ (the latter unless A^+ comes from conjugate gradients); for
    a SpectralOperator also that `spectral` belongs to the same A.

    shape: [C, H, W] of the images. seed: seed of images, ids and cotangents. ids: four names, for an operator that
    finds its parameters by them.
    """
    check_part("operator", operator, Operator, "SuperResolution(4)")
    streams = Streams(seed, ids)
    x = 2 * streams.at("check", "x").uniform(shape) - 1
    faults: list[str] = []

    def run(what: str, check: Callable[[], Iterator[str]]) -> bool:
        """Adds the faults that the check finds, among them any exception; returns whether it finds none."""
        before = len(faults)
        try:
            faults.extend(check())
        except Exception as error:
            faults.append(f"{what} fails: {type(error).__name__}: {error}")
        return len(faults) == before

    try:
        bound = operator.bind(shape, streams.at("operator"))
    except Exception as error:
        return [f"bind(shape={shape}, streams) fails: {type(error).__name__}: {error}"]
    if not run("forward(x) of float32 images", lambda: _forward(bound, x)):
        return faults
    if run("forward(x) of float64 images", lambda: _forward(bound, x.double())):
        x = x.double()
    else:
        faults[-1] += "; let constants follow the images, e.g. self.kernel.to(x)"
    sound = run("a row of the batch by itself", lambda: _rows(operator, bound, x, streams))
    run("the gradient of forward", lambda: _gradient(bound, x, streams))
    if sound and isinstance(bound, LinearOperator):
        linear, v = bound, streams.at("check", "v").normal(tuple(bound(x).shape[1:])).to(x.dtype)
        checks = {
            "linearity": lambda: _linearity(linear, x),
            "spectral(y, gain)": lambda: _spectral(linear, v),
            "adjoint(y)": lambda: _adjoint(linear, x, v),
            "pinv(y)": lambda: _pseudo_inverse(linear, x, v),
        }
        # Each check relies on the ones before it, so only the first failure is reported.
        all(run(what, check) for what, check in checks.items())
    return faults


def check_foreign(operator: Operator, shape: tuple[int, int, int], device: torch.device | str = "cpu") -> None:
    """A few calls on random images, for operators with a part whose class is defined outside rps.

    Errors: ValueError if it mixes the images of a batch or, as a LinearOperator, is not linear. Whatever it raises is
    left to the samples: it may need other ids or another size.
    """
    parts = [type(part) for part in operator.modules() if isinstance(part, Operator)]
    foreign = [kind for kind in parts if kind.__module__.partition(".")[0] != "rps"]
    if not foreign:
        return
    streams = Streams(0, IDS, device)
    x = 2 * streams.at("check", "x").uniform(shape) - 1
    fault = None
    with suppress(Exception):
        bound = operator.bind(shape, streams.at("operator"))
        linearity = _linearity(bound, x, COARSE) if isinstance(bound, LinearOperator) else ()
        fault = next(chain(_forward(bound, x, COARSE), _rows(operator, bound, x, streams, COARSE), linearity), None)
    if fault:
        name = f"{foreign[0].__module__}.{foreign[0].__qualname__}"
        raise ValueError(f"{name}: {fault}; rps.check_operator({foreign[0].__name__}(...)) lists all faults")


def gap_of(a: Tensor, b: Tensor) -> float:
    """||a - b|| / ||b||; infinite if their shapes differ or a value is not finite."""
    if a.shape != b.shape or not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        return float("inf")
    return float(torch.linalg.vector_norm(a - b) / torch.linalg.vector_norm(b).clamp(min=1e-20))


def sizes(tensor: Tensor) -> str:
    return " x ".join(str(n) for n in tensor.shape)


def _forward(bound: Operator, x: Tensor, tolerance: float = TOLERANCE) -> Iterator[str]:
    given = x.clone()
    y = bound(x)
    if not torch.equal(x, given):
        yield "forward changes x in place: work on a copy"
    elif y.shape[:1] != x.shape[:1]:
        yield f"forward of {len(x)} images returns {sizes(y)}: the first dimension must be the batch"
    elif y.dtype != x.dtype:
        yield f"forward of {x.dtype} images returns {y.dtype}: keep the images' dtype"
    elif not torch.isfinite(y).all():
        yield f"forward returns values that are not finite for images in [-1, 1] ({x.dtype})"
    elif gap_of(bound(x), y) > tolerance:
        yield "forward is not deterministic: draw random parameters in bind, from its streams, and not in forward"


def _rows(
    operator: Operator, bound: Operator, x: Tensor, streams: Streams, tolerance: float = TOLERANCE
) -> Iterator[str]:
    """The first way in which a row depends on the other rows of its batch."""
    y, shape = bound(x), (x.shape[1], x.shape[2], x.shape[3])
    other = x.clone()
    other[1] = -x[1].flip(0, 1, 2)
    if gap_of(bound(other)[[0, 2, 3]], y[[0, 2, 3]]) > tolerance:
        yield "forward mixes the images of a batch: the result of one image depends on another; treat each by itself"
        return
    index = torch.tensor([2, 0, 2])
    if gap_of(bound.rows(index)(x[index]), y[index]) > tolerance:
        yield (
            "rows(index) is not the operator of these rows: list the attributes whose first dimension is the batch "
            "in per_sample"
        )
        return
    if gap_of(operator.bind(shape, streams.at("operator"))(x), y) > tolerance:
        yield "bind gives different operators for the same ids: draw random parameters only from streams"
        return
    alone = operator.bind(shape, streams[torch.tensor([2, 0])].at("operator"))
    if gap_of(alone(x[[2, 0]]), y[[2, 0]]) > tolerance:
        yield "the operator of an id depends on the other ids of its batch: draw each row from its own stream"
    elif gap_of(bound(x), y) > tolerance:
        yield "a second bind changes what the first returned: return self.bound(...) and leave self unchanged"


def _gradient(bound: Operator, x: Tensor, streams: Streams) -> Iterator[str]:
    x = x.clone().requires_grad_()
    y = bound(x)
    if not y.requires_grad:
        yield "forward is not differentiable: autograd finds no path from y to x (detach, no_grad, numpy or integers?)"
        return
    v = streams.at("check", "v").normal(tuple(y.shape[1:])).to(y.dtype)
    (gradient,) = torch.autograd.grad(y, x, v)
    if not torch.isfinite(gradient).all():
        yield "the gradient of forward is not finite for images in [-1, 1]"
    elif not gradient.any():
        yield "the gradient of forward is zero everywhere, which gives solvers no guidance (rounding?)"


def _linearity(bound: LinearOperator, x: Tensor, tolerance: float = TOLERANCE) -> Iterator[str]:
    a, b = x, x.flip(2, 3)
    gap = gap_of(bound(2 * a - 3 * b), 2 * bound(a) - 3 * bound(b))
    if gap > tolerance:
        yield (
            f"forward is not linear: A(2a - 3b) differs from 2 A(a) - 3 A(b) by {gap:.1e}, relative; remove the "
            "constant or derive from Operator"
        )


def _adjoint(bound: LinearOperator, x: Tensor, v: Tensor) -> Iterator[str]:
    y, back = bound(x), bound.adjoint(v)
    if back.shape != x.shape:
        yield f"adjoint(y) has shape {sizes(back)}, not that of the images, {sizes(x)}"
        return
    difference = ((y * v).flatten(1).sum(1) - (x * back).flatten(1).sum(1)).abs()
    scale = y.flatten(1).norm(dim=1) * v.flatten(1).norm(dim=1)
    gap = float((difference / scale.clamp(min=1e-20)).max())
    if not gap <= TOLERANCE:
        yield f"adjoint is not the transpose of forward: <A x, v> and <x, A^T v> differ by {gap:.1e} ||A x|| ||v||"


def _pseudo_inverse(bound: LinearOperator, x: Tensor, v: Tensor) -> Iterator[str]:
    iterative = type(bound).pinv is LinearOperator.pinv
    tolerance = 2e-2 if iterative else 1e-4
    y = bound(x)
    image = bound.pinv(y)
    if image.shape != x.shape:
        yield f"pinv(y) has shape {sizes(image)}, not that of the images, {sizes(x)}"
        return
    gap = gap_of(bound(image), y)
    if gap > tolerance:
        why = "; conjugate gradients do not converge, define pinv(self, y, rcond)" if iterative else ""
        yield f"pinv is not a pseudo-inverse: A A^+ A differs from A by {gap:.1e}, relative{why}"
        return
    gap = 0.0 if iterative else max(gap_of(bound.pinv(bound(p)), p) for p in (image, bound.pinv(v)))
    if gap > tolerance:
        yield f"pinv is not a pseudo-inverse: A^+ A A^+ differs from A^+ by {gap:.1e}, relative"


def _spectral(bound: LinearOperator, v: Tensor) -> Iterator[str]:
    """The first function of the singular values for which `spectral` is wrong."""
    if not isinstance(bound, SpectralOperator):
        return

    def transpose(y: Tensor) -> Tensor:
        return LinearOperator.adjoint(bound, y)

    row = torch.arange(1.0, len(v) + 1, dtype=v.dtype).view(-1, 1, 1, 1)
    facts = {
        "f(s) = s is not A^T y": (bound.spectral(v, lambda s: s), transpose(v)),
        "f(s) = s^3 is not A^T A A^T y: are the singular values right?": (
            bound.spectral(v, lambda s: s**3),
            transpose(bound(transpose(v))),
        ),
        "f(s) = 1 / s is not pinv(y)": (bound.spectral(v, lambda s: 1.0 / s), bound.pinv(v)),
        "f(s) = r s with r [N, 1, 1, 1] is not r A^T y: keep s in four dimensions, the first of which is the row": (
            bound.spectral(v, lambda s: row * s),
            row * transpose(v),
        ),
    }
    for sentence, (found, expected) in facts.items():
        if gap_of(found, expected) > TOLERANCE:
            yield f"spectral(y, f) with {sentence}"
            return
