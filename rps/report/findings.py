"""What the figures of a run say, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rps.metrics.calibration import VARIANCE_RATIO
from rps.metrics.dp import PERCEPTION
from rps.metrics.significance import is_change, threshold
from rps.metrics.standard import DISTORTION
from rps.report.cells import amount, figure, is_known, plus_minus
from rps.report.changes import told
from rps.report.trade import at, trade

FOREIGN = 2.0
"""Ratio of the clean images' sqrt(FD) to that of a sample of the reference set above which they differ in kind. It is
at most 1.3 for 15 groups of 64 embedded images, 3.1 to 5.8 for single classes of them, and 9.5 for photographs."""
FEWEST = 4
"""Smallest number of clean images for this claim."""


def findings(summary: Mapping[str, Any]) -> list[str]:
    """Sentences on divergence, the trade, odd values and the reference set.  summary: metrics.json.

    A change is claimed if it can be told from zero at 95 % (see rps.metrics.significance), each by itself.
    """
    return [
        *_not_finite(summary),
        *trade(summary),
        *_baseline(summary),
        *_calibration(summary),
        *_odd_values(summary),
        *_other_kind(summary),
    ]


def _not_finite(summary: Mapping[str, Any]) -> Iterator[str]:
    for level in summary["levels"]:
        if count := level.get("not_finite"):
            yield (
                f"{count} of {level['n'] + level['failed']} images are not finite at {at(summary, level)}: the method "
                "diverged; try a smaller step_size, more steps, or a prior in float32."
            )


def _baseline(summary: Mapping[str, Any]) -> Iterator[str]:
    change = summary.get("pseudo_inverse", {}).get("difference_to_first")
    info = next((info for info in summary["metrics"] if info["name"] == DISTORTION), None)
    if change and info and told(change, DISTORTION) < 0:
        value, se = figure(change, DISTORTION)
        yield (
            f"A⁺y, which uses no prior, has {amount(value, se, info)} less {info['title']} than "
            f"{at(summary, summary['levels'][0])}: the settings do not suit this operator and noise, or the prior does "
            "not suit these pictures, unless these are samples at very little noise."
        )


def _calibration(summary: Mapping[str, Any]) -> Iterator[str]:
    """Whether samples are over- or under-confident, and by which factor of their standard deviation."""
    name = VARIANCE_RATIO.name
    for level in summary["levels"]:
        ratio, se = figure(level["metrics"], name)
        if is_known(ratio) and is_known(se) and is_change(ratio - 1, se, level["n"]):
            low, high = level["metrics"][name]["ci95"]
            word = "over" if ratio < 1 else "under"
            yield (
                f"The samples at {at(summary, level)} are {word}-confident: their variance is {ratio:.2f} of the "
                f"squared error of their mean (95 % interval {low:.2f} to {high:.2f}); calibration multiplies their "
                f"standard deviation by {ratio**-0.5:.2f}."
            )


def _odd_values(summary: Mapping[str, Any]) -> Iterator[str]:
    """Advice that metrics carry for means beyond their limits by more than their error."""
    for info in summary["metrics"]:
        for sign, bound in ((1, info.get("low")), (-1, info.get("high"))):
            if bound is None:
                continue
            beyond, lines = [], [(f" at {at(summary, level)}", level) for level in summary["levels"]]
            if not any(info["name"] in level["metrics"] for level in summary["levels"]):
                lines = [("", of)] if (of := summary.get("pseudo_inverse")) else []  # a metric of the measurement
            for place, level in lines:
                value, se = figure(level["metrics"], info["name"])
                margin = threshold(level["n"]) * se if is_known(se) else 0.0
                if sign * value + margin < sign * bound[0]:
                    beyond.append(f"{value:.{1 if value > 1 else 2}f}{place}")
            if beyond:
                yield f"{info['title']} is {', '.join(beyond)}: {bound[1]}."


def _other_kind(summary: Mapping[str, Any]) -> Iterator[str]:
    """Whether the clean images are far from the reference set, and that is most of the distance of restored ones."""
    frechet = (summary.get("reference") or {}).get("metrics", {}).get("frechet", {})
    root, se, expected = (frechet.get(name) for name in ("sqrt", "se_sqrt", "expected_sqrt"))
    restored = [value for level in summary["levels"] if is_known(value := figure(level["metrics"], PERCEPTION)[0])]
    if not (is_known(root) and is_known(se) and is_known(expected) and restored) or frechet["n"] < FEWEST:
        return
    if root - 2 * se > FOREIGN * expected and root > min(restored) / 2:
        yield (
            f"The reference set ({frechet['reference']['images']}) shows other things than the pictures: the clean "
            f"images are at a root Frechet distance of {root:.2f}{plus_minus(se, 2)} from it, where {frechet['n']} "
            f"images of its kind would be at about {expected:.2f}. Distances to it measure likeness to that set, not "
            "realism; give a reference of your kind of pictures, or none (reference: null of MetricRecorder), which "
            "compares with the run's own clean images."
        )
