"""Networks trained for a task, with tiny ones whose results are known."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rps import degrade
from rps.estimators import ChainEstimator
from rps.operators import Denoise, Inpaint, Operator, SuperResolution
from rps.priors import ConditionalGenerator, Pmrf
from rps.priors.generator import condition_on
from rps.samplers import Ddim
from rps.traversals import Interpolation, SampleAverage, SettingSweep, StepNumber

SHAPE = (1, 8, 8)
NOISE = 0.3


class Noisy(nn.Module):
    """G(y, z) = A^+ y + scale z."""

    def __init__(self, scale: float = NOISE) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, inputs, t):
        image, _, z = inputs.chunk(3, dim=1)
        return image + self.scale * z


class Half(nn.Module):
    """f(y) = A^+ y / 2."""

    def forward(self, inputs, t):
        return inputs[:, :1] / 2


class Decay(nn.Module):
    """dZ / d tau = -Z. times: every time that it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def forward(self, z, t):
        self.times += t.tolist()
        return -z


class Flat(Operator):
    """y = |x|, which is no image."""

    def forward(self, x):
        return x.flatten(1).abs()


def measure(n=4, operator=None, seed=0):
    images = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return degrade(images, operator or SuperResolution(2), 0.1, seed=seed)


def generator(**options):
    return ConditionalGenerator(Noisy(**options), SHAPE)


def pmrf(steps=5, std=0.1):
    return Pmrf(Half(), Decay(), SHAPE, std=std, flow_steps=steps)


def average(levels):
    return SampleAverage(levels, Ddim(), steps=None)


def test_mean_of_n_samples_has_the_variance_of_one_over_n():
    measurement = measure(64)
    images = average([1, 4, 16]).run(measurement, generator()).images
    for n, image in images.items():
        squares = (image - measurement.pseudo_inverse()).square() / (NOISE**2 / n)
        assert abs(squares.mean() - 1) < 4 * (2 / squares.numel()) ** 0.5  # of a chi-square of one degree


def test_sigma_z_scales_the_noise_of_one_draw():
    def images(seed):
        sweep = SettingSweep("sigma_z", [0.0, 0.5, 1.0], Ddim(), steps=None)
        return sweep.run(measure(operator=Denoise(), seed=seed), generator()).images

    run, other = images(0), images(1)
    torch.testing.assert_close(run[0.0], measure(operator=Denoise()).y)  # A^+ y: no noise
    torch.testing.assert_close(run[0.5], (run[0.0] + run[1.0]) / 2)
    assert (run[1.0] - run[0.0] - (other[1.0] - other[0.0])).abs().max() > NOISE  # another seed, other noise


@pytest.mark.parametrize("prior", [generator(), pmrf()], ids=["generator", "pmrf"])
def test_an_image_does_not_depend_on_its_batch(prior):
    whole, traversal = measure(4, Inpaint(0.5)), average([3])
    alone = traversal.run(whole.rows(slice(2, 3)), prior).images[3]
    torch.testing.assert_close(traversal.run(whole, prior).images[3][2:3], alone)


def test_each_sample_costs_one_call():
    traversal = average([1, 4])
    run = traversal.run(measure(), generator())
    assert {level: cost.network_calls for level, cost in run.cost.items()} == {1: 1, 4: 4}
    assert run.total_cost.network_calls == traversal.network_calls_per_image(generator()) == 4


def test_a_network_sees_the_mask():
    measurement = measure(operator=Inpaint(0.5))
    image, mask = condition_on(measurement).chunk(2, dim=1)
    assert mask.unique().tolist() == [0, 1] and (mask.flatten(1).sum(1) == 32).all()
    assert (image[mask == 0] == 0).all() and (mask[0] != mask[1]).any()  # each image has its own
    torch.testing.assert_close(image, measurement.operator.adjoint(measurement.y))


def test_one_step_is_the_regression_and_the_others_are_the_flow():
    measurement, prior = measure(), pmrf()
    run = StepNumber([1, 2, 6], sampler=Ddim(sigma_z=0)).run(measurement, prior)
    regression = measurement.pseudo_inverse() / 2
    torch.testing.assert_close(run.images[1], regression)
    torch.testing.assert_close(run.images[2], 0 * regression)  # one Euler step of dZ = -Z from 0 to 1
    torch.testing.assert_close(run.images[6], regression * (1 - 1 / 5) ** 5)
    assert {level: cost.network_calls for level, cost in run.cost.items()} == {1: 1, 2: 2, 6: 6}
    assert set(prior.flow.times) == {1000, 800, 600, 400, 200}  # 1000 (1 - tau)


def test_rows_of_one_call_may_be_at_different_times():
    measurement, t = measure(4), torch.tensor([0, 5, 0, 5])
    x = torch.ones(4, *SHAPE)
    x0 = pmrf().given(measurement).denoise(x, t).x0
    torch.testing.assert_close(x0[1::2], measurement.pseudo_inverse()[1::2] / 2)
    torch.testing.assert_close(x0[::2], x[::2] * (1 - 1 / 5))


def test_the_flow_starts_from_the_regression_with_noise():
    measurement = measure(64)
    at, near = (StepNumber([6], sampler=Ddim(s)).run(measurement, pmrf(std=0.2)).images[6] for s in (0.0, 1.0))
    squares = ((near - at) / (0.2 * (1 - 1 / 5) ** 5)).square()
    assert abs(squares.mean() - 1) < 4 * (2 / squares.numel()) ** 0.5


def test_interpolation_runs_from_the_regression_to_the_end_of_the_flow():
    measurement, prior = measure(), pmrf()
    run = Interpolation([0, 0.5, 1], ChainEstimator(Ddim(), 1), Ddim(), t0=5, steps=None).run(measurement, prior)
    end = StepNumber([6], sampler=Ddim()).run(measurement, prior).images[6]
    torch.testing.assert_close(run.images[0], measurement.pseudo_inverse() / 2)
    torch.testing.assert_close(run.images[1], end)
    torch.testing.assert_close(run.images[0.5], (run.images[0] + end) / 2)
    assert {level: cost.network_calls for level, cost in run.cost.items()} == {0: 1, 0.5: 6, 1: 6}
    assert run.total_cost.network_calls == 6


def test_weights_are_read_from_a_file(tmp_path):
    save_file(Noisy(2.0).state_dict(), tmp_path / "w.safetensors")
    prior = ConditionalGenerator(Noisy(), SHAPE, str(tmp_path / "w.safetensors"))
    assert prior.network.scale == 2 and not prior.network.scale.requires_grad


BAD = {
    "truncated or not a safetensors file": b"not safetensors",
    "Missing key": {"shift": torch.zeros(2)},
    "there is no checkpoint file": None,
}


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_weight_file_is_one_sentence(reason, tmp_path):
    path, content = tmp_path / "w.safetensors", BAD[reason]
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        save_file(content, path)
    with pytest.raises((ValueError, FileNotFoundError), match=reason) as caught:
        ConditionalGenerator(Noisy(), SHAPE, str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_cannot_be_run_says_why():
    with pytest.raises(ValueError, match=r"needs the image A\^\+ y, which Flat does not give"):
        generator().given(measure(operator=Flat()))
    with pytest.raises(ValueError, match="bind it with"):
        generator().denoise(torch.zeros(1, *SHAPE), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match="flow_steps at least 1"):
        pmrf(steps=0)
    with pytest.raises(ValueError, match="sigma_z must be a finite number >= 0"):
        Ddim(-1.0)
