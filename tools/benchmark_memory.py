"""Peak memory and seconds of one iteration of stage 1 and one DPS step, on random networks of published sizes.

    python tools/benchmark_memory.py --device cpu                       # one image each; minutes per line on two cores
    python tools/benchmark_memory.py --device cuda --dtype float16

A line per case and batch size, each measured in a process of its own: on the CPU the peak of the resident memory less
what the process held before the networks were made, on a GPU torch's own peak. Random weights cost what trained ones
cost. The text encoder is left out: it runs once per image.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rps.estimators import MapEstimator
from rps.measurement import degrade
from rps.operators import SuperResolution
from rps.priors import DiffusersPrior, Prior, StableDiffusionPrior
from rps.samplers import Dps, LatentDps
from rps.traversals import MapRps

GB = 2**30


def ffhq() -> Prior:
    """The flags of ffhq_10m.pt: 128 channels, multiples 1 1 2 2 4 4, one residual block, attention at 16 x 16."""
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
    """In the place of a text encoder: states of its size."""

    def __call__(self, text: str) -> tuple[Tensor, None]:
        return torch.zeros(1, 77, 768, device=self.device, dtype=self.dtype), None

    device = torch.device("cpu")
    dtype = torch.float32


def stable_diffusion(checkpointing: bool = True) -> Prior:
    """Stable Diffusion 1.5 at 512 x 512, with guidance: two network outputs in a call."""
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel

    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
    )  # fmt: skip
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    text: Any = RandomText()
    return StableDiffusionPrior(unet, vae, scheduler, text, prompt="", checkpointing=checkpointing)


CASES: dict[str, Callable[[], Prior]] = {
    "ffhq-256": ffhq,
    "sd-1.5-512, checkpointing": stable_diffusion,
    "sd-1.5-512": lambda: stable_diffusion(checkpointing=False),
}
WORK = {
    "stage 1": lambda latent: MapRps([0], MapEstimator(num_steps=1)),
    "DPS step": lambda latent: MapRps([1], MapEstimator(num_steps=0), LatentDps() if latent else Dps(), steps=1000),
}


def moved(prior: Any, device: str, dtype: str) -> Prior:
    kind = getattr(torch, dtype)
    for network in filter(None, (prior.unet, getattr(prior, "vae", None))):
        network.to(device, kind)
    if hasattr(prior, "text"):
        prior.text.device, prior.text.dtype = torch.device(device), kind
    return prior


def resident_peak() -> int:
    """Bytes, the highest so far in this process."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def measure(case: str, work: str, batch: int, device: str, dtype: str, answer: Any) -> None:
    """Puts (bytes of the networks, peak bytes, seconds) into the queue `answer`."""
    before = resident_peak()
    prior = moved(CASES[case](), device, dtype)
    weights = sum(
        p.numel() * p.element_size() for n in (prior.unet, getattr(prior, "vae", None)) if n for p in n.parameters()
    )
    images = torch.rand(batch, *prior.image_shape, device=device) * 2 - 1
    measurement = degrade(images, SuperResolution(4), 0.1, [str(i) for i in range(batch)], seed=0)
    traversal = WORK[work](hasattr(prior, "vae"))
    start = time.perf_counter()
    traversal.run(measurement, prior)
    if device == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()  # the first was a warm-up
        traversal.run(measurement, prior)
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else resident_peak() - before
    answer.put((weights, peak, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    print(f"{arguments.device}, {arguments.dtype}, torch {torch.__version__}\n")
    print("| case | work | batch | weights, GB | peak, GB | seconds |\n|---|---|---|---|---|---|")
    for case in arguments.cases:
        for work in WORK:
            for batch in arguments.batch_sizes:
                answer = spawn.Queue()
                options = (case, work, batch, arguments.device, arguments.dtype, answer)
                process = spawn.Process(target=measure, args=options)
                process.start()
                process.join()
                if process.exitcode:
                    told = f"ended with exit code {process.exitcode}"
                    print(f"| {case} | {work} | {batch} | | {told} | |", flush=True)
                    continue
                weights, peak, seconds = answer.get()
                print(
                    f"| {case} | {work} | {batch} | {weights / GB:.2f} | {peak / GB:.2f} | {seconds:.1f} |", flush=True
                )


if __name__ == "__main__":
    main()
