"""Looks for settings with few pictures: search spaces, objectives with and without clean pictures, the search."""

from rps.tuning.objective import Objective, make_objective
from rps.tuning.search import Search
from rps.tuning.space import Choices, Range, read_space
from rps.tuning.splits import HeldError, SplitMeasurement, fission, hold_out
from rps.tuning.trials import Progress, SettingFails, Trial

__all__ = [
    "Choices",
    "HeldError",
    "Objective",
    "Progress",
    "Range",
    "Search",
    "SettingFails",
    "SplitMeasurement",
    "Trial",
    "fission",
    "hold_out",
    "make_objective",
    "read_space",
]
