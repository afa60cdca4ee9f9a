"""The curves of several runs on one plane: what is outside, and what cannot be drawn together."""

import math

import pytest
from matplotlib.collections import PathCollection

from rps.records import RecordWriter, Row
from rps.report import curve
from rps.report.overlay import limit, overlay_plot, overlay_runs
from tests.rps.test_compare import write


def summary(points, n=32, reference="a set", features="f"):
    """metrics.json of a run.  points: (level, RMSE, sqrt FD)."""
    against = {"images": reference, "n": 9000}
    levels = [
        {
            "level": level,
            "forward_equivalents_per_image": 40.0,
            "metrics": {
                "rmse": {"mean": x, "se": 0.004},
                "frechet": {"sqrt": y, "se_sqrt": 0.02, "n": n, "features": features, "reference": against},
            },
        }
        for level, x, y in points
    ]
    return {"knob": "t0", "levels": levels, "reference": None}


GOOD = {
    f"step {k}": summary([(100 * i, 0.1 + 0.01 * i, 0.3 - 0.02 * i + 0.005 * k * i) for i in range(4)])
    for k in range(3)
}


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the figures that are drawn."""
    axes, new_plane = [], curve.new_plane

    def plane(*size):
        figure, own = new_plane(*size)
        axes.append(own)
        return figure, own

    monkeypatch.setattr("rps.report.overlay.new_plane", plane)
    return axes


def test_a_third_of_the_points_may_be_outside():
    near = [0.1, 0.1, 0.1, 0.11, 0.12, 0.13, 0.14, 0.16]
    assert limit(near) == math.inf
    assert limit([*near, 0.21]) == math.inf, "less than twice as far from the smallest as all others"
    assert limit([*near, 0.23]) == 0.16
    assert limit([0.9, 2.0, *near, 0.5, 7.0]) == 0.16
    assert limit([*near, *[0.9] * 5]) == math.inf, "more than a third are no outliers"
    assert limit([0.1, 0.1, 0.1, 0.11, 9.0]) == math.inf, "few points are all shown"


def test_points_far_outside_are_arrows_with_their_places_in_the_title(drawn, tmp_path):
    runs = {**GOOD, "step 9": summary([(0, 0.1, 0.3), (100, 0.4, 0.9), (200, 0.12, 2.5)])}
    overlay_plot(runs, tmp_path / "far.png", "a title")
    overlay_plot(GOOD, tmp_path / "near.png")
    far, near = drawn
    title = far.get_title(loc="left")
    assert "a title" in title and "outside, arrows at the edge: step 9: 100 (0.4, 0.9), 200 (0.12, 2.5)" in title
    assert far.get_xlim()[1] < 0.2 and far.get_ylim()[1] < 0.4
    arrows = [text for text in far.texts if text.arrow_patch is not None]
    assert [text.xy for text in arrows] == [(1.0, 1.0), (0.12, 1.0)]
    assert "outside" not in near.get_title(loc="left") and not any(text.arrow_patch for text in near.texts)
    assert near.get_xlim()[1] > 0.13, "every point is inside"
    assert all((tmp_path / name).stat().st_size > 0 for name in ("far.png", "near.png"))


def test_a_run_without_figures_is_named_and_numbers_of_images_are_noted(drawn, tmp_path):
    nothing = {"knob": "t0", "levels": [{"level": 0, "metrics": {}}]}
    overlay_plot({"diverged": nothing, **GOOD, "fewer": summary([(0, 0.1, 0.4)], n=20)}, tmp_path / "x.png")
    title = drawn[0].get_title(loc="left")
    assert "without figures: diverged" in title and "distances of 20 to 32 images" in title
    with pytest.raises(ValueError, match="no run has a level with RMSE"):
        overlay_plot({"diverged": nothing}, tmp_path / "y.png")
    with pytest.raises(ValueError, match="different features or references cannot be compared"):
        overlay_plot({**GOOD, "other": summary([(0, 0.1, 0.4)], reference="another set")}, tmp_path / "y.png")
    assert not (tmp_path / "y.png").exists()


def test_runs_are_drawn_on_the_samples_that_all_restored(drawn, tmp_path):
    a = write(tmp_path / "a", [0.1] * 5 + [0.9])
    b = write(tmp_path / "b", [0.3] * 5)
    RecordWriter(tmp_path / "c").write([Row("s0", 0, status="failed", reason="diverged")], "t0")
    overlay_runs({"A": a, "B": b, "C": tmp_path / "c"}, tmp_path / "x.png")
    (axes,) = drawn
    assert "5 images" in axes.get_title(loc="left") and "without figures: C" in axes.get_title(loc="left")
    places = {
        round(float(x), 6) for of in axes.collections if isinstance(of, PathCollection) for x, _ in of.get_offsets()
    }
    assert places == {0.1, 0.3}
