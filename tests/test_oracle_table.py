"""docs/oracle.md at a small size: what is exact passes, what is approximate is where it was recorded, breaks are seen.

The cases, the code and docs/oracle.json are those of tools/oracle.py, which judges more measurements.
"""

import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import oracle
from oracle_breaks import breaks, louder
from oracle_cases import (
    AFFINE,
    APPROXIMATE,
    EXACT,
    FOUR,
    METHODS,
    SAMPLERS,
    SMALL,
    WHITE,
    Case,
    cases,
    judge,
    law_cases,
    law_changed,
    plane,
    propagated,
    wrong,
)

from rps.samplers import ExactPosterior

RECORD = oracle.recorded()
# A part of it, since all of it takes minutes: tasks in turn; samplers with both priors, unless their law is tested;
# traversals, which are made of the same parts, with either prior.
TURNS = [
    Case(prior, FOUR[(i + shift) % 4], method)
    for shift, prior in enumerate(("gaussian", "mixture"))
    for i, method in enumerate(METHODS)
    if (method in SAMPLERS or (i + shift) % 2) and not (prior == "gaussian" and method in AFFINE)
]
LAWS = [Case("white", tasks[0], name) for name, (_, tasks) in WHITE.items()]
LAWS += [Case("gaussian", FOUR[i % 4], name) for i, name in enumerate(AFFINE)]
SEEN = {
    "noise times sqrt 2": ("ExactPosterior", "PiGdm, right r^2", "Ddrm", "Dps", "Dmap"),
    "sign of the guidance": ("PiGdm", "PiGdm, right r^2", "Ddrm", "Ddrm, eta 0", "Dps"),
    "r^2 of 4 times the variance": ("PiGdm, right r^2",),
    "noise_std doubled": ("ExactPosterior",),
    "bridge without noise (DDIM)": ("ExactPosterior",),
    "weights without the evidence": ("Ddnm",),
    "not re-noised": ("MapRps, exact stages",),
    "chains share their noise": ("SampleAverage",),
    "weights swapped": ("Interpolation, exact stages",),
    "prior omitted, w = 0": ("MapRps",),
}
BROKEN = [b for b in breaks() if b.case.method in SEEN.get(b.what, ())]


def name(case) -> str:
    return str(case).replace(" ", "_")


@pytest.mark.parametrize("case", TURNS, ids=name)
def test_no_gap_has_grown(case):
    """Within 4 standard errors of zero where the method is exact, of what was recorded where it is not."""
    assert wrong(case, judge(case, SMALL), RECORD["figures"][str(case)]) == {}


@pytest.mark.slow
@pytest.mark.parametrize("method", WHITE)
def test_exact_in_the_limit(method):
    case = Case("white", WHITE[method][1][-1], method)
    assert wrong(case, judge(case, SMALL), {}) == {}


@pytest.mark.parametrize("case", LAWS, ids=name)
def test_no_law_has_changed(case):
    assert law_changed(propagated(case), RECORD["laws"][str(case)]) == {}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda b: name(f"{b.what}: {b.case}"))
def test_a_break_is_noticed(broken):
    """Unless it leaves the law as it is, which must not be noticed."""
    samples, law = broken.noticed(RECORD)
    assert bool(samples or law) == (not broken.unnoticed)


@cache
def curve(name: str):
    return plane(1024).points(EXACT[name][0]) if name in EXACT else plane(128).points(APPROXIMATE[name]())


@pytest.mark.parametrize("name", EXACT)
def test_exact_traversals_follow_their_closed_form(name):
    """MSE and W2^2 of 1,024 outputs: the interpolation and the mean of M samples on the optimal curve, and MAP-RPS on
    its own, N(mu, C (I - G^2)), within 4 standard errors."""
    for point in curve(name):
        assert max(map(abs, plane(1).away(point, EXACT[name][1](point.level, plane(1).cov)))) < 4, point.level


@pytest.mark.parametrize("name", [*EXACT, *APPROXIMATE])
def test_nothing_lies_below_the_bound(name):
    for point in curve(name):
        assert plane(1).below(point) < 4, point.level


def test_too_much_noise_would_be_seen():
    traversal, law = EXACT["MAP-RPS, exact stages"]
    with louder(ExactPosterior)():
        found = plane(1024).points(traversal)
    for point in found:
        off = max(map(abs, plane(1).away(point, law(point.level, plane(1).cov))))
        assert (off > 8) == (point.level > 0), point.level


def test_a_point_below_the_bound_would_be_seen():
    """An output that knows the image has less distortion than the bound allows at its perception."""
    point = curve("optimal interpolation")[2]
    cheat = point._replace(mse=type(point.mse)(0.8 * point.mse.value, point.mse.se, 0.0, 0.0))
    assert plane(1).below(cheat) > 4


def test_the_page_shows_what_is_recorded():
    """Every figure of every line stands in docs/oracle.md, and every case is recorded."""
    page = (oracle.DOCS / "oracle.md").read_text(encoding="utf-8")
    assert set(RECORD["figures"]) == set(map(str, cases())) and set(RECORD["laws"]) == set(map(str, law_cases()))
    for case, lines in RECORD["figures"].items():
        for line, of in lines.items() if not case.startswith("white") else ():
            cells = " | ".join(f"{value:.3f} ({se:.3f})" for value, se in of.values())
            assert f"| {line} | {cells} |" in page
