"""Traversal, the base class: y -> images along a knob, the setting that trades distortion for perception."""

from __future__ import annotations

from collections.abc import Sequence

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.progress import Progress, silent
from rps.restoration import Level, Restoration


class Traversal:
    """Restores a batch at every level (value) of one knob. Subclasses set `knob` and `levels` and define `run`."""

    knob: str
    levels: Sequence[Level]

    def run(self, measurement: Measurement, prior: Prior, progress: Progress = silent) -> Restoration:
        """Restore a batch at every level, in as few network calls as the method allows."""
        raise NotImplementedError(f"{type(self).__name__} must define run(measurement, prior, progress)")

    def network_calls_per_image(self, prior: Prior) -> int:
        """Network calls that `run` is expected to make for one image, for progress bars."""
        raise NotImplementedError(f"{type(self).__name__} must define network_calls_per_image(prior)")
