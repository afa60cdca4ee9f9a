"""Traversal, the base class: y -> images along a knob, the setting that trades distortion for perception."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import ClassVar, TypeVar

from rps.measurement import Measurement
from rps.priors.base import Prior
from rps.progress import Progress, silent
from rps.restoration import Level, Restoration
from rps.shown import Shown

Self = TypeVar("Self", bound="Traversal")


class Traversal(Shown):
    """Restores a batch at every level (value) of one knob. Subclasses set `knob` and `levels` and define `run`.

    level_arguments: names of the constructor's arguments that say which levels there are: the list of levels, then
    settings that may have one value per level. Name them if the image at a level does not depend on the other levels,
    and `run` and `network_calls_per_image` go by `self.levels`: a run can then be extended by levels.
    """

    level_arguments: ClassVar[tuple[str, ...]] = ()

    knob: str
    levels: Sequence[Level]

    def only(self: Self, levels: Collection[Level]) -> Self:
        """This traversal at those of its levels; at all of them if it has no `level_arguments`."""
        if not self.level_arguments:
            return self
        part = copy.copy(self)
        part.levels = [level for level in self.levels if level in levels]
        return part

    def check_ids(self, ids: Collection[str]) -> None:
        """Errors: ValueError for samples that must not be restored, as those that a part was fitted on."""

    def run(self, measurement: Measurement, prior: Prior, progress: Progress = silent) -> Restoration:
        """Restore a batch at every level, in as few network calls as the method allows."""
        raise NotImplementedError(f"{type(self).__name__} must define run(measurement, prior, progress)")

    def network_calls_per_image(self, prior: Prior) -> int:
        """Network calls that `run` is expected to make for one image, for progress bars; tiles count once."""
        raise NotImplementedError(f"{type(self).__name__} must define network_calls_per_image(prior)")
