"""memory: peak memory of two calls of stage 1 and of one DPS step, each in its own process.

On the CPU it is the peak resident memory minus that before the networks were created, on a GPU torch's own peak. Random
weights cost the same as trained ones. The text encoder is left out: it runs once per image.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import torch

from benchmarks.cases import CASES, measure, seconds
from rps.estimators import ProximalMap, PseudoInverse
from rps.priors import Prior
from rps.samplers import Dps, LatentDps
from rps.traversals import MapRps

GB = 2**30
WORK = {
    "stage 1": lambda latent: MapRps([0], ProximalMap(num_steps=2)),
    "DPS step": lambda latent: MapRps([1], PseudoInverse(), LatentDps() if latent else Dps(), steps=1000),
}


def resident_peak() -> int:
    """Peak resident memory of this process so far, in bytes."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def peak(case: str, work: str, batch: int, device: str, dtype: str) -> tuple[int, int, float]:
    """(bytes of the networks, peak bytes, seconds)."""
    before = resident_peak()
    prior: Prior = CASES[case](dtype=dtype).to(device)
    weights = sum(p.numel() * p.element_size() for p in prior.parameters())
    measurement, traversal = measure(prior, batch), WORK[work](prior.latent)
    took = seconds(lambda: traversal.run(measurement, prior), device)
    if device == "cuda":  # the first was a warm-up
        return weights, torch.cuda.max_memory_allocated(), seconds(lambda: traversal.run(measurement, prior), device)
    return weights, resident_peak() - before, took


def memory(cases: list[str], batch_sizes: list[int], device: str, dtype: str) -> None:
    print(f"{device}, {dtype}, torch {torch.__version__}\n")
    print("| case | work | batch | weights, GB | peak, GB | seconds |\n|---|---|---|---|---|---|")
    for case, work, batch in ((case, work, batch) for case in cases for work in WORK for batch in batch_sizes):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            try:
                weights, most, took = process.submit(peak, case, work, batch, device, dtype).result()
                found = f"{weights / GB:.2f} | {most / GB:.2f} | {took:.1f}"
            except Exception as error:  # the process ran out of memory, or was killed for it
                found = f" | {type(error).__name__} | "
        print(f"| {case} | {work} | {batch} | {found} |", flush=True)
