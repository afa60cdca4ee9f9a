"""What callbacks and the command ask of a module and of a datamodule, beyond the hooks of Lightning.

Derive from these to support resuming, progress and reports of missing samples with a module or datamodule that is not
one of ours; whatever is left as it is here counts as unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from rps.cost import RelativeCost
from rps.measurement import Measurement
from rps.progress import Progress, silent
from rps.restoration import Level


class RunModule:
    """A LightningModule whose `predict_step` returns a Prediction (rps/restoration.py).

    skip_ids: ids that an earlier run finished; set before the predict loop, and to be passed over by `predict_step`.
    levels_left: id -> levels, of the samples that an earlier run finished at the other levels; set likewise. Restoring
    them at these levels only saves time.
    progress: to be called with (what, network calls) as work is done; set by rps.callbacks.ProgressBar.
    split: to be applied to every measurement before it is restored; set by rps tune, see rps.tuning.splits.
    alike: whether measurements of different samples have one size and one noise level; if not, a batch has one.
    knob, levels: of the traversal. image_shape: [C, H, W] of the images, where any_size of a tile: then images may have
    any height and width. relative_cost: of the prior.
    level_arguments: arguments of the constructor that say which levels there are, see rps.traversals.Traversal; a run
    can be extended by levels if there are any.
    """

    level_arguments: ClassVar[tuple[str, ...]] = ()

    skip_ids: AbstractSet[str] = frozenset()
    levels_left: Mapping[str, tuple[Level, ...]] = {}
    progress: Progress = staticmethod(silent)
    split: Callable[[Measurement], Measurement] = staticmethod(lambda measurement: measurement)

    alike: bool = True
    knob: str | None = None
    levels: Sequence[Level] | None = None
    image_shape: tuple[int, int, int] | None = None
    any_size: bool = False
    relative_cost: RelativeCost | None = None

    def network_calls_per_image(self, levels: Sequence[Level] | None = None) -> int | None:
        """Images through the network for one sample at these levels together, each with all of its tiles; None if
        unknown. levels: None is all."""
        return None

    def result_settings(self) -> Mapping[str, Any]:
        """Name -> setting, or object that has settings, of all that results depend on; records keep them, and a module
        with others cannot resume a run. Empty: nothing is known but the class of the module."""
        return {}


class RunData:
    """A LightningDataModule whose predict dataloader yields batches as in datamodules.Batch.

    skip_ids: ids that an earlier run finished; set before the predict loop, the same in every process. Leaving them out
    saves reading them. levels_left: as in RunModule, set likewise; samples that lack different levels should not share
    a batch. only_ids: ids of the samples to yield, whichever samples the arguments choose; set before `setup`, None if
    the arguments count. place: location of the data; a run that resumes must find it unchanged.
    selection: arguments of the constructor that choose samples and change none; a run can be extended to another
    choice. The first is the largest number of samples, of which null is all.
    """

    selection: ClassVar[tuple[str, ...]] = ()

    skip_ids: AbstractSet[str] = frozenset()
    levels_left: Mapping[str, tuple[Level, ...]] = {}
    only_ids: AbstractSet[str] | None = None
    place: str | None = None

    @property
    def num_samples(self) -> int | None:
        """Number of samples of the run, over all processes, or an upper bound."""
        return None

    @property
    def wanted_ids(self) -> AbstractSet[str]:
        """Ids that the user asked for, so that any the data lack can be reported; empty if there are none."""
        return frozenset()

    def total(self) -> int | None:
        """Number of samples that the data have; None if only reading them all would reveal it."""
        return None

    def measured_sizes(self) -> Iterable[tuple[str, tuple[int, int]]]:
        """Id and (height, width) of the degraded pictures to restore, from their headers; empty if unknown."""
        return ()

    def check_recorded(self, recorded: AbstractSet[str]) -> None:
        """Called before the predict loop of a run that resumes.

        recorded: ids of all samples of the data that the run has records of. Errors: ValueError if the id of such a
        sample has changed its meaning.
        """


def run_module(module: Any) -> RunModule:
    """The module, or one about which nothing is known in its place."""
    return module if isinstance(module, RunModule) else RunModule()


def run_data(trainer: Any) -> RunData:
    """The datamodule of a Trainer, or one about which nothing is known in its place."""
    datamodule = getattr(trainer, "datamodule", None)
    return datamodule if isinstance(datamodule, RunData) else RunData()
