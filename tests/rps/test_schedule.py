"""The schedule against published numbers, and the reverse step against Gaussian conditioning."""

from types import SimpleNamespace

import pytest
import torch

from rps.schedule import CLEAN, Schedule

T = 1000


def scaled_linear(start, end):
    return Schedule.from_betas(torch.linspace(start**0.5, end**0.5, T, dtype=torch.float64) ** 2)


def flow_matching():
    """alpha = 1 - t, sigma = t."""
    t = torch.linspace(0.001, 0.999, T, dtype=torch.float64)
    return Schedule(1 - t, t)


def variance_exploding():
    """alpha = 1, sigma from .01 to 80 (EDM)."""
    return Schedule(torch.ones(T), torch.logspace(-2, 1.9, T, dtype=torch.float64))


SCHEDULES = {"ddpm": Schedule.linear, "flow matching": flow_matching, "variance exploding": variance_exploding}


@pytest.mark.parametrize(
    ("schedule", "t", "abar"),
    [
        (Schedule.linear(), 10, 0.997807),
        (Schedule.linear(), 50, 0.96995),
        (scaled_linear(0.0015, 0.0195), 50, 0.91669),
        (scaled_linear(0.00085, 0.012), 50, 0.95158),
    ],
)
def test_published_numbers(schedule, t, abar):
    """abar_t of DDPM, of the CompVis FFHQ model and of Stable Diffusion 1.5 (method.md section 2)."""
    assert schedule.alpha(t) ** 2 == pytest.approx(abar, abs=6e-6)
    assert schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 == pytest.approx(1, abs=1e-12)


def test_clean_is_the_last_entry_and_no_timestep():
    schedule = Schedule.linear()
    assert len(schedule) == T
    assert (schedule.alpha(CLEAN), schedule.sigma(CLEAN)) == (1.0, 0.0)
    alpha, sigma = schedule.at(torch.tensor([CLEAN, 999]), torch.zeros(2, 3, 4, 4))
    assert alpha.shape == (2, 1, 1, 1) and alpha.dtype == torch.float32
    assert alpha[0] == 1 and sigma[0] == 0 and sigma[1] > 0.999


def test_from_scheduler():
    betas = torch.linspace(1e-4, 0.02, T)
    schedule = Schedule.from_scheduler(SimpleNamespace(alphas_cumprod=torch.cumprod(1 - betas, 0)))
    torch.testing.assert_close(schedule.alpha_table, Schedule.linear().alpha_table, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="has no alphas_cumprod"):
        Schedule.from_scheduler(SimpleNamespace(sigmas=betas))


def test_tables_must_match():
    with pytest.raises(ValueError, match="two tables of one length"):
        Schedule(torch.ones(3), torch.ones(4))


def test_half_precision_models_keep_an_exact_schedule():
    """In half precision neighbouring alphas coincide, and the ancestral noise would vanish or explode."""
    model = torch.nn.ModuleDict({"schedule": Schedule.linear(), "net": torch.nn.Linear(2, 2)}).half()
    assert model["net"].weight.dtype == torch.float16
    for name in ("alpha_table", "sigma_table"):
        assert torch.equal(getattr(model["schedule"], name), getattr(Schedule.linear(), name))
    assert model.to("meta")["schedule"].alpha_table.device.type == "meta"
    assert list(Schedule.linear().state_dict()) == []


@pytest.mark.parametrize("name", SCHEDULES)
def test_add_noise(name):
    schedule = SCHEDULES[name]()
    x0, eps = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([0, 500, 999])
    x = schedule.add_noise(x0, eps, t)
    for row, step in enumerate(t.tolist()):
        torch.testing.assert_close(x[row], schedule.alpha(step) * x0[row] + schedule.sigma(step) * eps[row])


def test_reverse_std_is_the_ddpm_formula():
    """s^2 = (1 - abar_{t-1}) / (1 - abar_t) beta_t at every t."""
    betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    abar = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
    t = torch.arange(T)
    s = Schedule.linear().reverse_std(t, t - 1, torch.zeros(T, 1, dtype=torch.float64))
    torch.testing.assert_close(s[:, 0] ** 2, (1 - before) / (1 - abar) * betas, atol=1e-14, rtol=1e-9)
    assert s[0] == 0


@pytest.mark.parametrize("name", SCHEDULES)
def test_reverse_step_is_the_gaussian_conditional(name):
    """(x_t', x_t) given x_0 has covariance [[sigma'^2, a sigma'^2], [., sigma^2]], a = alpha / alpha': the variance of
    x_t' given x_t is s^2 and its regression on eps is sqrt(sigma'^2 - s^2)."""
    schedule = SCHEDULES[name]()
    t, t_next = torch.tensor([999, 700, 300, 20, 0]), torch.tensor([998, 400, 0, 19, CLEAN])
    like = torch.zeros(5, 1, dtype=torch.float64)
    alpha, sigma = schedule.at(t, like)
    alpha_next, sigma_next = schedule.at(t_next, like)
    covariance = alpha / alpha_next * sigma_next**2
    s = schedule.reverse_std(t, t_next, like)
    torch.testing.assert_close(s**2, sigma_next**2 - covariance**2 / sigma**2, atol=1e-12, rtol=1e-8)
    torch.testing.assert_close((sigma_next**2 - s**2).clamp(min=0).sqrt() * sigma, covariance, atol=1e-9, rtol=1e-8)


def test_learned_variance_interpolates_between_beta_and_its_bridge():
    """log s^2 = v log beta_t + (1 - v) log of the bridge (arXiv 2102.09672, eq. 15)."""
    schedule, t = Schedule.linear(), torch.tensor([500])
    like = torch.zeros(1, 1, dtype=torch.float64)
    bridge, beta = schedule.reverse_std(t, t - 1, like) ** 2, 1e-4 + 500 / 999 * (0.02 - 1e-4)
    for v in (0.0, 0.3, 1.0):
        s = schedule.reverse_std(t, t - 1, like, torch.full_like(like, v))
        torch.testing.assert_close(s**2, beta**v * bridge ** (1 - v), rtol=1e-9, atol=0)
    assert schedule.reverse_std(t, torch.tensor([CLEAN]), like, torch.ones_like(like)) == 0


@pytest.mark.parametrize("steps", [None, 1, 7, 100, 999, 1000])
@pytest.mark.parametrize("t0", [0, 1, 2, 25, 300, 999, 1000])
def test_grid(t0, steps):
    """Starts at t0 - 1, descends, and below its start it is a subset of the whole chain's grid."""
    schedule = Schedule.linear()
    grid, whole = schedule.grid(t0, steps), schedule.grid(T, steps)
    assert len(whole) == (steps or T)
    assert grid[:1] == ([t0 - 1] if t0 else [])
    assert grid == sorted(set(grid), reverse=True) and all(0 <= t < t0 for t in grid)
    assert set(grid[1:]) == {t for t in whole if t < t0 - 1}


def test_grid_of_the_paper_and_its_errors():
    schedule = Schedule.linear()
    assert schedule.grid(3) == [2, 1, 0]
    assert schedule.grid(300, 100)[:2] == [299, 289] and len(schedule.grid(300, 100)) == 30
    with pytest.raises(ValueError, match="t0 must be between 0 and the number of timesteps 1000, got 1001"):
        schedule.grid(1001)
    with pytest.raises(ValueError, match="steps must be between 1"):
        schedule.grid(10, 0)
