"""Every parametrisation against the scheduler of diffusers that defines it, and against the prior's own formulas."""

import pytest
import torch
import yaml
from diffusers import (
    CMStochasticIterativeScheduler,
    DDIMScheduler,
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from rps.cli.arguments import packaged_configs
from rps.priors import Prior
from rps.priors.parametrisation import Parametrisation, geometric, karras
from rps.schedule import Schedule

GENERATOR = torch.Generator().manual_seed(0)
X, OUTPUT = torch.randn(2, 3, 3, 4, 4, generator=GENERATOR, dtype=torch.float64)

KINDS = {
    "epsilon": Parametrisation.of_schedule(Schedule.linear()),
    "v_prediction": Parametrisation.of_schedule(Schedule.linear(), "v_prediction"),
    "sample": Parametrisation.of_schedule(Schedule.linear(), "sample"),
    "edm": Parametrisation.edm(karras(0.002, 80, 1000)),
    "edm v": Parametrisation.edm(karras(0.002, 80, 1000), 1.0, "v_prediction"),
    "consistency": Parametrisation.consistency(karras(0.002, 80, 40)),
    "flow": Parametrisation.flow_matching(),
    "shifted flow": Parametrisation.flow_matching(500, shift=3.0),
}


def times(kind: Parametrisation) -> torch.Tensor:
    return torch.tensor([0, len(kind) // 3, len(kind) - 1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_x0_and_eps_make_up_x_t(kind, dtype):
    kind, x = KINDS[kind], X.to(dtype)
    t = times(kind)
    denoised = kind.answer(x, OUTPUT.to(dtype), t)
    alpha, sigma = kind.at(t, x)
    rebuilt = alpha * denoised.x0 + sigma * denoised.eps
    assert rebuilt.dtype == dtype
    assert (rebuilt - x).abs().max() < 4 * torch.finfo(dtype).eps * (sigma * denoised.eps).abs().max().clamp(min=10)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_grows_and_no_entry_is_degenerate(kind):
    kind = KINDS[kind]
    ratio = (kind.sigma_table / kind.alpha_table)[:-1]
    assert (ratio.diff() > 0).all() and ratio[0] > 0 and ratio[-1].isfinite()
    assert kind.coefficients.isfinite().all() and kind.times.isfinite().all()


@pytest.mark.parametrize(
    ("name", "formula"), [("epsilon", "from_eps"), ("v_prediction", "from_v"), ("sample", "from_x0")]
)
def test_ddpm_predictions_are_the_formulas_of_a_prior(name, formula):
    kind, prior = KINDS[name], Prior()
    prior.schedule = Schedule.linear()
    t = times(kind)
    scaled, time = kind.question(X, t)
    assert torch.equal(scaled, X) and torch.equal(time, t)
    for ours, theirs in zip(kind.answer(X, OUTPUT, t)[:2], getattr(prior, formula)(X, OUTPUT, t)[:2], strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
def test_edm_is_that_of_diffusers(prediction_type, sigma_data):
    scheduler = EDMEulerScheduler(prediction_type=prediction_type, sigma_data=sigma_data)
    kind = Parametrisation.of_scheduler(scheduler)
    t = times(kind)
    scaled, time = kind.question(X, t)
    x0 = kind.answer(X, OUTPUT, t).x0
    for row, sigma in enumerate(kind.sigma_table[t]):
        torch.testing.assert_close(scaled[row], scheduler.precondition_inputs(X[row], sigma))
        torch.testing.assert_close(time[row], scheduler.precondition_noise(sigma).float())
        torch.testing.assert_close(x0[row], scheduler.precondition_outputs(X[row], OUTPUT[row], sigma))
    assert kind.alpha(500) == 1 and kind.sigma(0) == pytest.approx(0.002) and kind.sigma(999) == pytest.approx(80)


def test_consistency_is_that_of_diffusers():
    scheduler = CMStochasticIterativeScheduler()
    kind = Parametrisation.of_scheduler(scheduler)
    torch.testing.assert_close(kind.sigma_table[:-1].flip(0), scheduler.sigmas)
    torch.testing.assert_close(kind.times.flip(0), scheduler.timesteps.float())
    t = times(kind)
    skip, out = (v.view(-1, 1, 1, 1) for v in scheduler.get_scalings_for_boundary_condition(kind.sigma_table[t]))
    torch.testing.assert_close(kind.answer(X, OUTPUT, t).x0, skip * X + out * OUTPUT)
    scheduler.set_timesteps(1)
    torch.testing.assert_close(kind.question(X, t)[0][2:], scheduler.scale_model_input(X[2:], scheduler.timesteps[0]))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_is_that_of_diffusers(shift):
    """One Euler step to s = 0 gives x0hat; the times lie halfway between those of the scheduler."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    kind = Parametrisation.of_scheduler(scheduler)
    theirs = torch.cat([torch.zeros(1), scheduler.timesteps.flip(0)])
    assert ((kind.times > theirs[:-1]) & (kind.times < theirs[1:])).all()
    t = times(kind)
    torch.testing.assert_close(kind.times.double(), kind.sigma_table[:-1] * 1000, rtol=1e-6, atol=0)
    for row in range(3):
        scheduler.set_timesteps(sigmas=[0.9])
        scheduler.sigmas = torch.tensor([kind.sigma(int(t[row])), 0.0], dtype=torch.float64)
        stepped = scheduler.step(OUTPUT[row].double(), scheduler.timesteps[0], X[row]).prev_sample
        torch.testing.assert_close(kind.answer(X, OUTPUT, t).x0[row], stepped.double(), atol=1e-5, rtol=1e-5)


def test_the_best_flow_of_gaussian_images_gives_their_conditional_mean():
    """x_0 ~ N(0, v): E[eps - x_0 | x_s] = (s - (1 - s) v) / ((1 - s)^2 v + s^2) x_s, from the covariances alone."""
    kind, v = KINDS["flow"], 0.3
    t = times(kind)
    alpha, s = kind.at(t, X)
    x0 = kind.answer(X, (s - alpha * v) / (alpha**2 * v + s**2) * X, t).x0
    torch.testing.assert_close(x0, alpha * v / (alpha**2 * v + s**2) * X)


def test_exponential_noise_levels_and_schedulers_with_alphas_cumprod():
    kind = Parametrisation.of_scheduler(EDMEulerScheduler(sigma_schedule="exponential"))
    torch.testing.assert_close(
        kind.sigma_table[1:-1] / kind.sigma_table[:-2], torch.full((999,), 4e4 ** (1 / 999)).double()
    )
    torch.testing.assert_close(kind.sigma_table[:-1], geometric(0.002, 80, 1000))
    other = Parametrisation.of_scheduler(UniPCMultistepScheduler(beta_schedule="squaredcos_cap_v2"))
    assert torch.equal(
        other.alpha_table, Schedule.from_scheduler(DDPMScheduler(beta_schedule="squaredcos_cap_v2")).alpha_table
    )


def test_the_table_stays_in_double_precision():
    kind = Parametrisation.edm(karras(0.002, 80, 1000))
    before = kind.coefficients.clone()
    assert torch.equal(kind.half().coefficients, before) and kind.times.dtype == torch.float32


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_at_zero_snr_only_eps_determines_nothing(prediction_type):
    """x_T = eps: v = -x_0 there, and the table of a network that predicts eps ends before."""
    scheduler = DDIMScheduler(rescale_betas_zero_snr=True, prediction_type=prediction_type)
    kind = Parametrisation.of_scheduler(scheduler)
    assert kind.coefficients.isfinite().all()
    if prediction_type == "epsilon":
        assert len(kind) == 999 and kind.alpha(998) > 0 and kind.grid(999)[0] == 998
        torch.testing.assert_close(kind.alpha_table[:-1] ** 2, scheduler.alphas_cumprod[:-1].double())
        with pytest.raises(
            ValueError, match=r"number of timesteps 999, got 1000; from timestep 999 on, the schedule has alpha = 0"
        ):
            kind.grid(1000)
        with pytest.raises(ValueError, match=r"steps must be .* got 1000; from timestep 999 on, .*zero SNR"):
            kind.grid(999, 1000)
        return
    assert len(kind) == 1000 and kind.alpha(999) == 0 and kind.grid(1000)[0] == 999
    last = torch.tensor([999, 999, 999])
    denoised = kind.answer(X, OUTPUT, last)
    torch.testing.assert_close(denoised.x0, OUTPUT if prediction_type == "sample" else -OUTPUT)
    torch.testing.assert_close(denoised.eps, X)


def test_a_schedule_that_begins_at_the_clean_image_is_refused():
    """sigma = 0 at t = 0 would make eps, and so samples, nan."""
    betas = torch.linspace(0, 0.02, 10).tolist()
    for prediction_type in ("epsilon", "v_prediction", "sample"):
        scheduler = DDPMScheduler(num_train_timesteps=10, trained_betas=betas, prediction_type=prediction_type)
        with pytest.raises(ValueError, match=r"has alpha = 1 and sigma = 0 at timestep 0, .* sigma must be > 0"):
            Parametrisation.of_scheduler(scheduler)
    with pytest.raises(ValueError, match=r"has alpha = 1 and sigma = 0 at timestep 0"):
        Parametrisation.of_scheduler(EDMEulerScheduler(sigma_min=0.0))


def test_wrong_predictions_are_told():
    with pytest.raises(ValueError, match="must be epsilon, v_prediction or sample, got 'score'"):
        Parametrisation.of_schedule(Schedule.linear(), "score")
    with pytest.raises(ValueError, match="must be epsilon or v_prediction, got 'sample'"):
        Parametrisation.of_scheduler(EDMEulerScheduler(prediction_type="sample"))


@pytest.mark.parametrize("name", ["edm", "flow_matching", "consistency"])
def test_packaged_configs_start_at_the_noise_of_the_ddpm_one(name):
    """sigma / alpha at t0 = 100 and 300 of the linear schedule, to half a timestep of the coarser table."""
    kind = {"edm": KINDS["edm"], "flow_matching": KINDS["flow"], "consistency": KINDS["consistency"]}[name]

    def levels(t0, table):
        t = torch.tensor([level - 1 for level in t0 if level])
        return (table.sigma_table[t] / table.alpha_table[t]).log()

    given = yaml.safe_load(packaged_configs()[f"prior/{name}"].read_text())["model"]["init_args"]["t0"]
    gap = (levels(given, kind) - levels([0, 100, 300], Schedule.linear())).abs()
    assert gap.max() < (0.12 if name == "consistency" else 0.01)
