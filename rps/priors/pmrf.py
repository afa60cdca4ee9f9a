"""PMRF: a regressor trained for one task, followed by a rectified flow to natural images (arXiv 2410.00418)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rps.priors.base import Denoised
from rps.priors.generator import ConditionedPrior, Task, embedded_network, evaluate, filled
from rps.schedule import Schedule

SOURCE_STD = 0.1
"""Standard deviation of the noise on the regression from which the embedded flows start, in [-1, 1] image units."""


class FlowSchedule(Schedule):
    """The regression at timestep K = T - 1, where x_t = z, then Euler steps of a flow, with time u = (t + 1) / K left.

    At t < K, alpha = 1 and sigma = std u; at t = K, alpha = 0 and sigma = 1, so that the deterministic step from it
    gives x* + std z. Every grid of more than one step visits t = K - 1, the start of the flow.

    Args:
        flow_steps: K. std: standard deviation of the noise at the start of the flow.
    """

    def __init__(self, flow_steps: int, std: float) -> None:
        left = (torch.arange(flow_steps, dtype=torch.float64) + 1) / flow_steps
        last = torch.ones(1, dtype=torch.float64)
        super().__init__(torch.cat([torch.ones_like(left), 0 * last]), torch.cat([std * left, last]))
        self.flow = Schedule(torch.ones_like(left), std * left)

    def grid(self, t0: int, steps: int | None = None) -> list[int]:
        whole = super().grid(t0, steps)
        if t0 < len(self) or steps == 1:
            return whole
        return [t0 - 1, *self.flow.grid(t0 - 1, None if steps is None else steps - 1)]


class Pmrf(ConditionedPrior):
    """x* = f(y), then dZ / d tau = v(Z, tau) from Z_0 = x* + std z to Z_1; v does not see y (arXiv 2410.00418).

    f estimates the posterior mean, and the flow transports the law of x* to that of natural images. Use it with
    rps.samplers.Ddim: one step returns x*, and S steps are the regression and S - 1 Euler steps. Each is one network
    call.

    Its knob is the weight w of Interpolation with estimator = ChainEstimator(Ddim(), 1), sampler = Ddim() and t0 =
    flow_steps: (1 - w) x* + w Z_1. This line is the optimal distortion-perception curve if x* is the posterior mean and
    the flow the optimal transport (arXiv 2107.02555). A straight flow stopped at tau = w gives the same image plus the
    noise (1 - w) std z.

    Args:
        regressor: f, called as network(inputs, t), inputs [N, 2C, H, W] with A^+ y and A^+ A 1 (for inpainting, the
            mask) as channels, t zeros [N] -> image [N, C, H, W] in [-1, 1], or an object whose `sample` it is, as the
            UNet2DModel of diffusers does.
        flow: v, called as network(Z, t), Z [N, C, H, W] and t = 1000 (1 - tau) [N] -> v [N, C, H, W].
        sample_shape: [C, H, W] of the images.
        regressor_weights: .safetensors file with the state dict of f; None keeps its weights.
        flow_weights: .safetensors file with the state dict of v; None keeps its weights.
        std: standard deviation of z's share in Z_0, in [-1, 1] image units; that with which the flow was trained.
        flow_steps: number of Euler steps on the full grid.
    """

    def __init__(
        self,
        regressor: nn.Module,
        flow: nn.Module,
        sample_shape: tuple[int, int, int],
        regressor_weights: str | None = None,
        flow_weights: str | None = None,
        std: float = SOURCE_STD,
        flow_steps: int = 24,
    ) -> None:
        super().__init__()
        if not std > 0 or flow_steps < 1:
            raise ValueError(f"std must be > 0 and flow_steps at least 1, got {std} and {flow_steps}")
        self.regressor, self.flow = filled(regressor, regressor_weights), filled(flow, flow_weights)
        self.sample_shape, self.schedule = sample_shape, FlowSchedule(flow_steps, std)

    def denoise(self, x: Tensor, t: Tensor) -> Denoised:
        condition, regression = self.seen().to(x), t == len(self.schedule) - 1
        x0 = torch.empty_like(x)
        if regression.any():
            x0[regression] = evaluate(self.regressor, condition[regression], 0 * t[regression])
        if not regression.all():
            z, left = x[~regression], (t[~regression] + 1) / (len(self.schedule) - 1)
            v = evaluate(self.flow, z, 1000 * left)
            x0[~regression] = z + left.to(x).view(-1, 1, 1, 1) * v
        return self.from_x0(x, x0, t)


class EmbeddedPmrf(Pmrf):
    """The regressors and flows that ship with the package, trained by tools/train_generator.py for the tasks of
    configs/embedded.

    Args:
        task: task for which they were trained; operator and noise must be those of configs/embedded/TASK.
        flow_steps: number of Euler steps on the full grid.
    """

    def __init__(self, task: Task, flow_steps: int = 24) -> None:
        regressor, flow = (embedded_network(f"pmrf/{task}/{part}") for part in ("regressor", "flow"))
        super().__init__(regressor, flow, (1, 32, 32), flow_steps=flow_steps)
        self.task = task
