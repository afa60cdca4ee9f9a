"""overhead: time of whole runs divided by that of the bare networks making the same calls.

Every network call of a run is recorded: which network, its batch, and how often it is differentiated. The bare networks
(UNet, encoder and decoder) then repeat these calls on noise. Runs and repetitions alternate in one process, so that a
busy machine slows both equally; the ratio is the median over the repeats. Of the calls, "f" is the number of images
through a network, "b" that of backward passes.

On the CPU, the C library returns memory to the system and fetches it again at every call, which costs up to 15 %; set
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 in the environment.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch

from benchmarks.calls import Call, images, recorded
from benchmarks.cases import CASES, measure, seconds
from benchmarks.solvers import runs
from rps.priors import Prior
from rps.traversals import Traversal


def bare(prior: Prior, batch_sizes: list[int], repeats: int, device: str) -> None:
    """Prints the time of one call of every bare network."""
    print("| network | images | forward, ms per image | forward and backward, ms per image |\n|---|---|---|---|")
    for n in batch_sizes:
        z = torch.randn(n, *prior.sample_shape, device=device)
        with recorded(prior) as calls, torch.no_grad():
            prior.denoise(z, torch.full((n,), 100, device=device))
            prior.decode(z)
        for call in calls:
            times = []
            for call.graph, call.backwards in ((False, 0), (True, 1)):
                noise = torch.randn(call.shape.numel(), device=device)
                took = [seconds(lambda call=call, noise=noise: call.repeat(noise), device) for _ in range(repeats + 1)]
                times.append(f"{statistics.median(took[1:]) * 1000 / n:.2f}")
            print(f"| {call.part} | {n} | {' | '.join(times)} |", flush=True)


def ratio(run: Callable[[], Any], calls: list[Call], repeats: int, device: str) -> tuple[float, float]:
    """(median seconds of the run, median ratio to the bare calls)."""
    noise = torch.randn(max((call.shape.numel() for call in calls), default=0), device=device)
    whole, alone = [], []
    for _ in range(repeats):
        whole.append(seconds(run, device))
        alone.append(seconds(lambda: [call.repeat(noise) for call in calls], device))
    return statistics.median(whole), statistics.median(w / a for w, a in zip(whole, alone, strict=True))


def line(name: str, traversal: Traversal, prior: Prior, number: int, repeats: int, device: str) -> str:
    """The line of the table.  Errors: ValueError for a method that does not fit the prior."""
    measurement = measure(prior, number)

    def run() -> None:
        traversal.run(measurement, prior)

    with recorded(prior) as calls:  # also the warm-up
        run()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    took, times = ratio(run, calls, repeats, device) if calls else (seconds(run, device), float("nan"))
    peak = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}" if device == "cuda" else ""
    forwards, backwards = images(calls)
    return f"| {name} | {forwards} f {backwards} b | {took / number:.4f} | {times:.3f} | {peak} |"


def overhead(cases: list[str], number: int, repeats: int, device: str, dtype: str, only: list[str]) -> None:
    for case in cases:
        prior = CASES[case](dtype=dtype).to(device).eval()
        print(f"\n{case}, {number} images, {dtype}, {device}, torch {torch.__version__}\n", flush=True)
        bare(prior, sorted({1, max(number // 4, 1), number}), repeats, device)
        print("\n| method | calls | seconds per image | run / bare networks | peak, GB |\n|---|---|---|---|---|")
        for name, traversal in runs(prior):
            if not only or name in only:
                with suppress(ValueError):
                    print(line(name, traversal, prior, number, repeats, device), flush=True)
