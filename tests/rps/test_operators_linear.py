"""Compressed sensing, colorization, the legacy operators and Compose, against independent definitions of each."""

import math

import pytest
import torch

from rps.measurement import degrade
from rps.operators import (
    AnisotropicBlur,
    Colorization,
    Compose,
    CompressedSensing,
    Denoise,
    GaussianBlur,
    HighDynamicRange,
    Inpaint,
    LegacyAnisotropicBlur,
    LegacyInpaint,
    LinearOperator,
    MotionBlur,
    Operator,
    SuperResolution,
)
from rps.operators.compressed_sensing import walsh_hadamard
from tests.rps.operator_cases import SHAPE, bind, images


def hadamard(n):
    """Sylvester's matrix."""
    matrix, two = torch.ones(1, 1, dtype=torch.float64), torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    while len(matrix) < n:
        matrix = torch.kron(matrix, two)
    return matrix


def test_walsh_hadamard_is_sylvesters_matrix():
    for n in (1, 2, 64):
        torch.testing.assert_close(walsh_hadamard(torch.eye(n, dtype=torch.float64)), hadamard(n) / math.sqrt(n))
    x = images(2, (3, 16, 16)).flatten(2)
    torch.testing.assert_close(walsh_hadamard(walsh_hadamard(x)), x)


def test_compressed_sensing_measures_random_coefficients():
    x, operator = images(64, (3, 8, 16)), bind(CompressedSensing(4), (3, 8, 16), n=64)
    y = operator(x)
    assert y.shape == (64, 3, 8 * 16 // 4)
    for row in (0, 63):
        expected = x[row].flatten(1) @ hadamard(128)[operator.index[row]].T / math.sqrt(128)
        torch.testing.assert_close(y[row], expected)
    torch.testing.assert_close(operator(operator.adjoint(y)), y)
    assert len({tuple(row) for row in operator.index.tolist()}) == 64


def test_every_coefficient_is_measured_equally_often():
    """Counts over 2,000 samples within 5 standard errors."""
    index = bind(CompressedSensing(4), (1, 8, 8), n=2000).index
    counts = torch.bincount(index.flatten(), minlength=64)
    assert ((counts - 500).abs() < 5 * math.sqrt(2000 * 0.25 * 0.75)).all()


def test_colorization_is_the_mean_of_the_channels():
    operator, x = bind(Colorization(), (3, 1, 2), 1), torch.tensor([[[[0.3, 0.0]], [[0.6, 0.9]], [[0.0, -0.9]]]])
    torch.testing.assert_close(operator(x), torch.tensor([[[[0.3, 0.0]]]]))
    torch.testing.assert_close(operator.pinv(operator(x)), torch.tensor([[[[0.3, 0.0]]] * 3]).view(1, 3, 1, 2))


def legacy_matrix(taps, size):
    """The released loop: taps k = 0 .. 7 of nine at column i - 4 + k, nothing beyond the border."""
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for i in range(size):
        for j in range(i - 4, i + 4):
            if 0 <= j < size:
                matrix[i, j] = taps[j - i + 4]
    return matrix


def legacy_dense(channels, size, wrong_order):
    """U diag(s) V^T of the released code on vectors in the order channel, row, column.  -> [C H W, C H W]."""
    blur = AnisotropicBlur()
    (u1, s1, v1), (u2, s2, v2) = (torch.svd(legacy_matrix(taps, size)) for taps in (blur.vertical, blur.horizontal))
    s1, s2 = torch.where(s1 < 3e-2, 0, s1), torch.where(s2 < 3e-2, 0, s2)
    s, order = torch.outer(s1, s2).flatten().sort(descending=True, stable=True)
    u, v = torch.kron(u1, u2)[:, order], torch.kron(v1, v2)[:, order]
    # Coefficients are interleaved (pixel, channel); the released code repeats s as a whole instead of each entry.
    values = s.repeat(channels) if wrong_order else s.repeat_interleave(channels)
    values = values.view(-1, channels)
    return torch.block_diag(*(u @ torch.diag(values[:, c]) @ v.T for c in range(channels)))


@pytest.mark.parametrize("wrong_order", [True, False])
def test_legacy_blur_is_the_released_code(wrong_order):
    """Up to equal singular values, here those that are zero: the two matrices have the same action on an image."""
    operator = bind(LegacyAnisotropicBlur(wrong_order=wrong_order), (3, 12, 12), 1)
    expected = legacy_dense(3, 12, wrong_order)
    torch.testing.assert_close(operator.matrix(), expected, atol=1e-8, rtol=0)


def test_legacy_blur_darkens_to_eight_ninths_and_is_no_blur_in_colour():
    x = torch.full((1, 3, 64, 64), 0.7, dtype=torch.float64)
    grey = bind(LegacyAnisotropicBlur(), (1, 64, 64), 1)(x[:, :1])[..., 20:44, 20:44]
    assert grey.mean() / 0.7 == pytest.approx(8 / 9, abs=0.01)
    grey = images(1, (1, 64, 64)).expand(-1, 3, -1, -1)
    wrong, right = (bind(LegacyAnisotropicBlur(wrong_order=w), (3, 64, 64), 1)(grey) for w in (True, False))
    assert torch.equal(right[:, 0], right[:, 1]) and (wrong[:, 0] - wrong[:, 1]).norm() > 0.01 * right.norm()
    assert (wrong - right).norm() > 0.5 * right.norm()


def test_legacy_inpainting_loses_a_sixth_of_the_numbers_all_at_the_top():
    operator = bind(LegacyInpaint(), (3, 30, 16), n=2)
    y = operator(images(2, (3, 30, 16)))
    assert y.shape[1] == round(3 * 30 * 16 * (1 - 1 / 6))
    kept = operator.adjoint(torch.ones_like(y))
    assert ((kept == 0) | (kept == 1)).all() and (kept[:, :, 10:] == 1).all()
    assert (kept[:, :, :10] == 0).double().mean() == 0.5
    assert (kept[:, 0] != kept[:, 1]).any()
    torch.testing.assert_close(operator.adjoint(operator(images(2, (3, 30, 16)))), images(2, (3, 30, 16)) * kept)


def test_compose_is_one_after_another():
    parts = [GaussianBlur(5, 1.0), SuperResolution(2), Inpaint(0.5)]
    operator, x = bind(Compose(parts)), images()
    assert isinstance(operator, LinearOperator) and operator.image_shape == SHAPE
    small = bind(parts[1])(bind(parts[0])(x))
    mask = operator.operators[2].index
    torch.testing.assert_close(operator(x), small.flatten(2).gather(2, mask.unsqueeze(1).expand(-1, 3, -1)))
    assert not isinstance(Compose([Denoise(), HighDynamicRange()]), LinearOperator)
    torch.testing.assert_close(bind(Compose([Denoise(), HighDynamicRange()]))(x), (2 * x).clamp(-1, 1))


def test_two_equal_operators_of_a_composition_draw_independently():
    operator = bind(Compose([MotionBlur(5), MotionBlur(5)]))
    assert not torch.equal(operator.operators[0].kernel, operator.operators[1].kernel)
    assert torch.equal(operator.rows(slice(2, 3)).operators[1].kernel, operator.operators[1].kernel[2:3])


class Float32Kernel(Operator):
    def __init__(self):
        super().__init__()
        self.kernel = torch.ones(1, 1, 3, 3) / 9

    def forward(self, x):
        return (
            torch.nn.functional.conv2d(x.flatten(0, 1).unsqueeze(1), self.kernel).squeeze(1).unflatten(0, x.shape[:2])
        )


def test_what_a_composition_holds_in_single_precision_is_measured_in_single_precision():
    y = degrade(images(2, dtype=torch.float32), Compose([Denoise(), Float32Kernel()]), 0.0).y
    assert y.shape == (2, 3, 14, 30) and y.dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Compose([]), "Compose needs at least one operator"),
        (
            lambda: bind(Compose([Inpaint(), Denoise()])),
            r"Inpaint gives measurements of shape \(3, 256\).*Denoise after it",
        ),
        (lambda: CompressedSensing(0), "ratio must be >= 1, got 0"),
        (lambda: bind(CompressedSensing(), (1, 28, 28)), "power of two, got 28 x 28"),
        (lambda: bind(CompressedSensing(8), (1, 2, 2)), "leaves no coefficient of a 2 x 2 image"),
    ],
)
def test_bad_settings_are_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
