"""degrade and measured: what a measurement is, and that it is a function of (seed, id)."""

import pytest
import torch

from rps.measurement import degrade, measured
from rps.operators import BoxInpaint, Denoise, Inpaint, LinearOperator, Operator, SuperResolution

SHAPE = (3, 16, 16)
IDS = [f"s{i}" for i in range(16)]


class Kernel(LinearOperator):
    """A user's blur that holds its kernel in float32, and blurs by a convolution."""

    def __init__(self):
        super().__init__()
        self.kernel = torch.arange(9.0).view(1, 1, 3, 3) / 36

    def forward(self, x):
        return torch.nn.functional.conv2d(x.flatten(0, 1).unsqueeze(1), self.kernel).unflatten(0, x.shape[:2])


class RandomGain(Operator):
    """A user's nonlinear operator with one random number for each sample."""

    per_sample = ("gain",)

    def bind(self, shape, streams):
        return self.bound(gain=streams.uniform((1, 1, 1)))

    def forward(self, x):
        return (self.gain.to(x) * x).tanh()


OPERATORS = {"inpaint": Inpaint(0.3), "user linear": Kernel(), "user nonlinear": RandomGain()}
"""Those of the package are in test_operators.py."""


def images(n=16, dtype=torch.float32):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=dtype) * 2 - 1


@pytest.mark.parametrize("name", OPERATORS)
def test_same_id_same_bits_in_any_batch(name):
    x, operator = images(), OPERATORS[name]
    whole = degrade(x, operator, 0.2, IDS, seed=3)
    assert whole.y.dtype == torch.float32 and len(whole) == 16
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    shuffled = degrade(x[order], operator, 0.2, [IDS[i] for i in order], seed=3)
    assert torch.equal(shuffled.y, whole.y[order])
    for row in (0, 5, 15):
        alone = degrade(x[row : row + 1], operator, 0.2, IDS[row : row + 1], seed=3)
        assert torch.equal(alone.y[0], whole.y[row])


@pytest.mark.parametrize("name", OPERATORS)
def test_rows_are_measurements_of_their_own(name):
    x = images()
    whole = degrade(x, OPERATORS[name], 0.2, IDS)
    index = torch.tensor([7, 2, 7])
    part = whole.rows(index)
    assert torch.equal(part.y, whole.y[index]) and len(part) == 3
    torch.testing.assert_close(part.residual(x[index]), whole.residual(x)[index])
    norm = ((whole.y - whole.operator(x)) ** 2).flatten(1).sum(1).sqrt()
    torch.testing.assert_close(part.residual_norm(x[index]), norm[index])
    assert torch.equal(part.streams.normal((3,)), whole.streams.normal((3,))[index])


class Spectrum(Operator):
    """A user's operator that does not take an empty batch, as no FFT does."""

    def forward(self, x):
        return torch.fft.fft2(x, norm="ortho").abs()


@pytest.mark.parametrize("name", OPERATORS)
def test_empty_batch(name):
    some, none = degrade(images(2), OPERATORS[name], 0.2), degrade(images(0), OPERATORS[name], 0.2, [])
    assert none.y.shape == (0, *some.y.shape[1:])
    assert none.residual_norm(images(0)).shape == (0,)


def test_empty_batch_of_an_operator_that_does_not_take_one():
    assert degrade(images(0), Spectrum(), 0.2, []).y.shape == (0, *SHAPE)
    with pytest.raises(ValueError, match="does not fit"):
        degrade(images(0), BoxInpaint(20), 0.2)


@pytest.mark.parametrize("name", ["inpaint", "user linear"])
def test_preview_is_an_image_with_nearly_the_measurement(name):
    """A A^+ y is y but for what rcond = .1 leaves out."""
    measurement = degrade(images(2), OPERATORS[name], 0.0)
    assert measurement.pseudo_inverse().shape == (2, *SHAPE)
    assert (measurement.residual_norm(measurement.pseudo_inverse()) < 0.25 * measurement.y.flatten(1).norm(dim=1)).all()


def test_seed_and_id_decide_mask_and_noise_independently_of_each_other():
    x = images(1)
    one = degrade(x, Inpaint(), 0.2, ["a"])
    other_id, other_seed = degrade(x, Inpaint(), 0.2, ["b"]), degrade(x, Inpaint(), 0.2, ["a"], seed=1)
    assert not torch.equal(one.operator.index, other_id.operator.index)
    assert not torch.equal(one.operator.index, other_seed.operator.index)
    noisier = degrade(x, Inpaint(), 0.4, ["a"])
    torch.testing.assert_close(noisier.residual(x), 2 * one.residual(x))


def test_operator_stays_as_it_was():
    operator = Inpaint()
    before = dict(vars(operator))
    degrade(images(4), operator, 0.1)
    assert vars(operator) == before


def test_double_images_make_double_measurements():
    assert degrade(images(2, torch.float64), SuperResolution(), 0.1).y.dtype == torch.float64


def test_measured_takes_the_measurement_itself():
    pictures = images(2)[:, :, :4, :4]
    measurement = measured(pictures, SuperResolution(4), 0.1, SHAPE, ["a", "b"])
    assert torch.equal(measurement.y, pictures)
    assert measurement.pseudo_inverse().shape == (2, *SHAPE) and measurement.image_shape == SHAPE


@pytest.mark.parametrize("operator", [Inpaint(0.3), BoxInpaint(5, "random", margin=2)])
def test_measured_takes_a_picture_that_agrees_with_the_measurement(operator):
    """The very mask that degrade draws for this (seed, id), and no noise on top."""
    x = images(3)
    measurement = measured(x, operator, 0.1, SHAPE, IDS[:3], seed=2)
    assert torch.equal(measurement.y, degrade(x, operator, 0.0, IDS[:3], seed=2).y)


def test_measured_refuses_other_shapes():
    """Also those of the image's size, where y is a picture: it would be degraded once more without a word."""
    for size in (5, 16):
        with pytest.raises(
            ValueError, match=rf"\(3, {size}, {size}\), expected the shape of the measurement \(3, 4, 4\)"
        ):
            measured(torch.zeros(1, 3, size, size), SuperResolution(4), 0.1, SHAPE)
    with pytest.raises(ValueError, match=r"\(3, 5, 5\), expected the shape of the image \(3, 16, 16\)"):
        measured(torch.zeros(1, 3, 5, 5), Inpaint(0.5), 0.1, SHAPE)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            (images(1), Denoise(), -0.1),
            r"noise must have a std >= 0 in \[-1, 1\] image units, got -0.1",
        ),
        ((images(1), Denoise(), float("nan")), "noise must have a std >= 0"),
        ((images(1)[0], Denoise(), 0.1), r"images must be \[N, C, H, W\]"),
        ((images(1).to(torch.uint8), Denoise(), 0.1), "images must be floating point"),
        ((images(2), Denoise(), 0.1, ["a"]), "got 1 ids for 2 images"),
        ((images(2), BoxInpaint(20), 0.1), "a box of 20 x 20 pixels .* does not fit into an image of 16 x 16"),
    ],
)
def test_bad_input(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        degrade(*arguments)


class Sums(Operator):
    """Row sums, which are no image."""

    def forward(self, x):
        return x.sum(3).flatten(1)


class Mistaken(Sums):
    def pinv(self, y, rcond=0.0):
        raise ValueError("a mistake in a user's pinv")


def test_an_operator_without_a_pseudo_inverse_has_no_picture_and_a_mistake_is_not_hidden():
    images = torch.zeros(2, *SHAPE)
    assert degrade(images, Sums(), 0.1).pseudo_inverse() is None
    with pytest.raises(ValueError, match="a mistake in a user's pinv"):
        degrade(images, Mistaken(), 0.1).pseudo_inverse()
