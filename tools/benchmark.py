"""Measure the cost of a restoration: time beyond that of the network, and peak memory at published sizes.

    python tools/benchmark.py overhead --images 64 --repeats 3
    python tools/benchmark.py memory --device cpu                  # one image each; minutes per line on two cores
    python tools/benchmark.py memory --device cuda --dtype float16
    python tools/benchmark.py ratios --cases embedded embedded_latent   # for --model.relative_cost

overhead: records every network call of a MAP-RPS pass (its batch, and whether it is differentiated, as DPS needs), then
repeats the same calls with the bare UNet, forward under no_grad or forward and vector-Jacobian product with respect to
the input. Passes and bare calls alternate, so that a busy machine slows both equally.
memory: one iteration of stage 1 and one DPS step, each in its own process: on the CPU the peak resident memory minus
that before the networks were created, on a GPU torch's own peak. Random weights cost the same as trained ones. The text
encoder is left out: it runs once per image.
ratios: the relative costs of a prior (rps.cost.RelativeCost): network and decoder, each forward under no_grad, and
forward and vector-Jacobian product with respect to the input. The four alternate; a line has their medians.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from rps.cost import RelativeCost
from rps.estimators import MapEstimator
from rps.measurement import degrade
from rps.operators import SuperResolution
from rps.priors import DiffusersPrior, EmbeddedLatentPrior, EmbeddedPrior, Prior, StableDiffusionPrior
from rps.samplers import Dps, LatentDps
from rps.traversals import MapRps

GB = 2**30
Call = tuple[int, bool]
"""(images in a network call, whether it is differentiated)."""


def seconds(job: Callable[[], Any]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def bare(unet: Any, x: Tensor, differentiated: bool) -> None:
    """Runs one call of the bare network."""
    t = torch.full((len(x),), 100)
    with torch.set_grad_enabled(differentiated):
        row = x.clone().requires_grad_(differentiated)
        output = unet(row, t).sample
        if differentiated:
            torch.autograd.grad(output, row, grad_outputs=torch.ones_like(output))


def overhead(images: int, repeats: int) -> None:
    from datamodules import Embedded  # imported here to keep it out of the processes that measure memory

    prior, data = EmbeddedPrior(), Embedded(limit=images, batch_size=images)
    data.setup("predict")
    measurement = degrade(next(iter(data.predict_dataloader()))["image"], SuperResolution(4), noise=0.1)
    traversal = MapRps([0, 50, 100, 200], MapEstimator(num_steps=40, t1=200), Dps(), steps=100)
    calls: list[Call] = []
    hook = prior.unet.register_forward_hook(
        lambda module, args, output: calls.append((len(output.sample), output.sample.requires_grad))
    )
    traversal.run(measurement, prior)
    hook.remove()
    print(f"{len(calls)} network calls, {sum(n for n, _ in calls)} images through the network")
    x, ratios = torch.randn(max(n for n, _ in calls), *prior.sample_shape), []
    for _ in range(repeats):
        whole = seconds(lambda: traversal.run(measurement, prior))
        alone = seconds(lambda: [bare(prior.unet, x[:n], differentiated) for n, differentiated in calls])
        ratios.append(whole / alone)
        print(f"pass {whole:.2f} s, bare network {alone:.2f} s, ratio {ratios[-1]:.3f}")
    print(f"median ratio {statistics.median(ratios):.3f}")


def ffhq() -> Prior:
    """The network of ffhq_10m.pt: 128 channels, multiples 1 1 2 2 4 4, one residual block, attention at 16 x 16."""
    from diffusers import DDPMScheduler, UNet2DModel

    down, up = "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"
    unet = UNet2DModel(
        sample_size=256, in_channels=3, out_channels=6, layers_per_block=1,
        block_out_channels=(128, 128, 256, 256, 512, 512), attention_head_dim=64, resnet_time_scale_shift="scale_shift",
        downsample_type="resnet", upsample_type="resnet",
        down_block_types=(down, down, down, down, "AttnDownBlock2D", down),
        up_block_types=(up, "AttnUpBlock2D", up, up, up, up),
    )  # fmt: skip
    return DiffusersPrior(unet, DDPMScheduler())


class RandomText:
    """Replaces a text encoder by zeros of the same shape."""

    device, dtype = torch.device("cpu"), torch.float32

    def __call__(self, text: str) -> tuple[Tensor, None]:
        return torch.zeros(1, 77, 768, device=self.device, dtype=self.dtype), None


def stable_diffusion(checkpointing: bool = True) -> Prior:
    """Stable Diffusion 1.5 at 512 x 512 with guidance: two network outputs per call."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    text: Any = RandomText()
    return StableDiffusionPrior(unet, vae, scheduler, text, prompt="", checkpointing=checkpointing)


CASES: dict[str, Callable[[], Any]] = {
    "ffhq-256": ffhq,
    "sd-1.5-512, checkpointing": stable_diffusion,
    "sd-1.5-512": lambda: stable_diffusion(checkpointing=False),
}
WORK = {
    "stage 1": lambda latent: MapRps([0], MapEstimator(num_steps=1)),
    "DPS step": lambda latent: MapRps([1], MapEstimator(num_steps=0), LatentDps() if latent else Dps(), steps=1000),
}


def resident_peak() -> int:
    """Peak resident memory of this process so far, in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def measure(case: str, work: str, batch: int, device: str, dtype: str) -> tuple[int, int, float]:
    """(bytes of the networks, peak bytes, seconds)."""
    before, prior, kind = resident_peak(), CASES[case](), getattr(torch, dtype)
    networks = [network.to(device, kind) for network in (prior.unet, getattr(prior, "vae", None)) if network]
    if hasattr(prior, "text"):
        prior.text.device, prior.text.dtype = torch.device(device), kind
    weights = sum(p.numel() * p.element_size() for network in networks for p in network.parameters())
    images = torch.rand(batch, *prior.image_shape, device=device) * 2 - 1
    measurement = degrade(images, SuperResolution(4), 0.1, [str(i) for i in range(batch)], seed=0)
    traversal = WORK[work](hasattr(prior, "vae"))

    def run() -> None:
        traversal.run(measurement, prior)
        if device == "cuda":
            torch.cuda.synchronize()

    took = seconds(run)
    if device == "cuda":  # the first was a warm-up
        return weights, torch.cuda.max_memory_allocated(), seconds(run)
    return weights, resident_peak() - before, took


def memory(cases: list[str], batch_sizes: list[int], device: str, dtype: str) -> None:
    print(f"{device}, {dtype}, torch {torch.__version__}\n")
    print("| case | work | batch | weights, GB | peak, GB | seconds |\n|---|---|---|---|---|---|")
    for case, work, batch in ((case, work, batch) for case in cases for work in WORK for batch in batch_sizes):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            try:
                weights, peak, took = process.submit(measure, case, work, batch, device, dtype).result()
                found = f"{weights / GB:.2f} | {peak / GB:.2f} | {took:.1f}"
            except Exception as error:  # the process ran out of memory, or was killed for it
                found = f" | {type(error).__name__} | "
        print(f"| {case} | {work} | {batch} | {found} |", flush=True)


RATIO_CASES: dict[str, Callable[[], Any]] = {
    "embedded": EmbeddedPrior,
    "embedded_latent": EmbeddedLatentPrior,
    **CASES,
}


def relative_cost(prior: Prior, batch: int, repeats: int) -> RelativeCost:
    """The relative costs of a prior for batches of this size."""
    x, t = torch.randn(batch, *prior.sample_shape), torch.full((batch,), 100)

    def job(function: Callable[[Tensor], Tensor], differentiated: bool) -> None:
        with torch.set_grad_enabled(differentiated):
            row = x.clone().requires_grad_(differentiated)
            output = function(row)
            if differentiated:
                torch.autograd.grad(output, row, grad_outputs=torch.ones_like(output))

    functions = [lambda x: prior.denoise(x, t).x0, prior.decode]
    kinds = [(function, differentiated) for function in functions for differentiated in (False, True)]
    for kind in kinds:
        job(*kind)  # a warm-up
    took = [[seconds(lambda kind=kind: job(*kind)) for kind in kinds] for _ in range(repeats)]
    forward, both, decode, both_of_decoder = (statistics.median(times) for times in zip(*took, strict=True))
    one = forward / prior.evaluations
    decoder = (decode / one, (both_of_decoder - decode) / one) if prior.latent else (0.0, 0.0)
    return RelativeCost((both - forward) / forward, *decoder)


def ratios(cases: list[str], batch_sizes: list[int], repeats: int) -> None:
    for case in cases:
        prior = RATIO_CASES[case]()
        for batch in batch_sizes:
            found = {name: round(value, 2) for name, value in asdict(relative_cost(prior, batch, repeats)).items()}
            print(f"{case}, batch of {batch}: --model.relative_cost '{json.dumps(found)}'", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    o, m = commands.add_parser("overhead"), commands.add_parser("memory")
    o.add_argument("--images", type=int, default=64)
    o.add_argument("--repeats", type=int, default=3)
    m.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    m.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    m.add_argument("--batch-sizes", type=int, nargs="+", default=[1])
    m.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    r = commands.add_parser("ratios")
    r.add_argument("--cases", nargs="+", choices=RATIO_CASES, default=list(RATIO_CASES)[:2])
    r.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 64])
    r.add_argument("--repeats", type=int, default=15)
    options = vars(parser.parse_args())
    {"overhead": overhead, "memory": memory, "ratios": ratios}[options.pop("command")](**options)


if __name__ == "__main__":
    main()
