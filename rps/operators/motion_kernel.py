"""Kernels of motion blur: the path of a shaking camera during an exposure."""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rps.randomness import Streams


def motion_kernels(streams: Streams, taps: int, intensity: float) -> Tensor:
    """One random kernel for each stream, sum 1, centre of mass in the middle.  -> float64 [N, 1, taps, taps].

    A kernel is the time that a point of light spends on each pixel while it moves along a random path of half to all of
    taps - 1 pixels, at constant speed. The motion has inertia; random forces turn it, a pull holds it near the start,
    and rare shakes reverse it (the model of Boracchi and Foi, IEEE TIP 2012, with our own constants). intensity in
    [0, 1] scales all three; 0 is a straight line.
    """
    steps = 4 * taps
    normals = streams.at("forces").normal((2 * steps,)).tolist()
    uniforms = streams.at("shakes").uniform((steps + 2,)).tolist()
    # Path by path in Python floats, so that a kernel has the same bits in every batch and on every device.
    kernels = [rasterise(path(n, u, taps, intensity), taps) for n, u in zip(normals, uniforms, strict=True)]
    device = streams.keys.device
    exact = torch.float32 if device.type == "mps" else torch.float64
    return torch.tensor(kernels, dtype=exact, device=device).view(len(streams), 1, taps, taps)


def path(normals: Sequence[float], uniforms: Sequence[float], taps: int, intensity: float) -> list[complex]:
    """Positions (column + i row) of the moving point at equal time intervals, in pixels relative to their mean.

    normals: two for each step; uniforms: one for each step, and two for the length and the first direction.
    """
    steps = len(normals) // 2
    length = (taps - 1) * (0.5 + 0.5 * uniforms[-1])
    velocity, position = cmath.rect(1.0, 2 * math.pi * uniforms[-2]), 0j
    positions = []
    for step in range(steps):
        positions.append(position)
        force = complex(normals[2 * step], normals[2 * step + 1]) * 3 / math.sqrt(steps)
        pull = -8 / steps * position / length
        velocity += intensity * (force + pull)
        if uniforms[step] < 2 * intensity / steps:
            velocity = -velocity
        velocity /= abs(velocity)
        position += velocity * length / (steps - 1)
    mean = sum(positions) / steps
    return [position - mean for position in positions]


def rasterise(positions: Sequence[complex], taps: int) -> list[list[float]]:
    """A kernel of sum 1 from positions about its centre, each spread bilinearly over its four nearest pixels."""
    kernel = [[0.0] * taps for _ in range(taps)]
    for position in positions:
        x, y = position.real + taps // 2, position.imag + taps // 2
        column, row = (min(max(math.floor(value), 0), taps - 2) for value in (x, y))
        for i, weight_y in ((row, row + 1 - y), (row + 1, y - row)):
            for j, weight_x in ((column, column + 1 - x), (column + 1, x - column)):
                kernel[i][j] += weight_y * weight_x / len(positions)
    return kernel
