"""What the calibration of a run says of the spread of samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rps.metrics.calibration import VARIANCE_RATIO
from rps.records.directory import RunDirectory
from rps.records.files import level_name
from rps.restoration import Level


def spread_scales(run: str, knob: str, levels: Sequence[Level]) -> dict[Level, float]:
    """sqrt(a / b) of every level that is the mean of samples, by which its standard deviation is multiplied.

    run: a run on clean pictures (see rps.metrics.calibration). Errors: ValueError if it is none, or if its levels do
    not include the given ones.
    """
    found = RunDirectory(Path(run).expanduser()).metrics()
    if not found:
        raise ValueError(f"calibration {run} has no metrics.json; give a finished run on clean pictures")
    known = {entry["level"]: entry["metrics"].get(VARIANCE_RATIO.name) for entry in found["levels"]}
    if found["knob"] != knob or (lacking := [level for level in levels if level not in known]):
        missing = found["knob"] if found["knob"] != knob else f"{knob} without {', '.join(map(level_name, lacking))}"
        raise ValueError(f"calibration {run} has levels of {missing}; give a run with the levels of this one")
    if not any(known.values()):
        raise ValueError(f"calibration {run} has no calibrated level; give a run of clean pictures with samples >= 2")
    ratios = {level: known[level]["mean"] for level in levels if known[level]}
    if bad := [level for level, ratio in ratios.items() if not (ratio or 0) > 0]:
        raise ValueError(f"calibration {run} found no error at {knob} = {level_name(bad[0])}; give more pictures")
    return {level: ratio**-0.5 for level, ratio in ratios.items()}
