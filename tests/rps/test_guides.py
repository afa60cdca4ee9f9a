"""Reference curves of a distortion-perception plane, and the labels on it."""

import json

import pytest

from rps.cli import main
from rps.operators import SuperResolution
from rps.oracle import Plane, Problem, smooth_prior
from rps.report import curve, dp_curve_plot
from rps.report.guides import guides
from rps.report.labels import Label, _overlap, add_labels
from rps.report.overlay import overlay_plot
from tests.rps.test_overlay import summary
from tests.rps.test_page import IDS, write

CLEAN = {"n": 32, "metrics": {"frechet": {"sqrt": 0.1}}}
POINTS = [(0, 0.10, 0.30), (100, 0.11, 0.25), (200, 0.14, 0.20)]


def place(x, y, se=0.01):
    return {"x": x, "y": y, "y_se": se}


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the figures that are drawn."""
    axes, new_plane = [], curve.new_plane

    def plane(*size):
        figure, own = new_plane(*size)
        axes.append(own)
        return figure, own

    for module in ("curve", "overlay"):
        monkeypatch.setattr(f"rps.report.{module}.new_plane", plane)
    return axes


def texts(axes) -> list[str]:
    return [text.get_text() for legend in axes.figure.legends for text in legend.get_texts()]


def test_a_gaussian_posterior_s_optimal_estimators_lie_on_the_curve():
    """(1 - w) E[x|y] + w x_0: MSE (1 + w^2) Tr C at W2 = (1 - w) sqrt(Tr C) given y, in any unit of distance and with
    any distance of the clean images."""
    plane = Plane(Problem.of(smooth_prior(), SuperResolution(2), 0.2, n=1, m=1))
    known = [plane.known(w**2 * plane.cov, float("inf")) for w in (0.0, 0.25, 0.5, 0.75, 1.0)]
    points = [(str(k), place(mse**0.5, 0.2 + 3 * max(w2, 0) ** 0.5)) for k, (mse, w2) in enumerate(known)]
    found = guides(points, 0.2)
    assert found.best == "0" and found.sampler == pytest.approx(points[-1][1]["x"]) and found.near
    for _, point in points:
        x, y = min(found.curve, key=lambda of: abs(of[1] - point["y"]))
        assert (x, y) == pytest.approx((point["x"], point["y"]), rel=1e-4)


def test_what_is_not_known_is_not_drawn():
    level = ("t0 = 0", place(0.1, 0.3))
    assert guides([level], 0.1) is None, "may be a sample"
    assert guides([level, ("t0 = 1", place(0.12, 0.2))], None).curve == []
    assert guides([level, ("t0 = 1", place(0.12, 0.2))], 0.29).curve == [], "no farther than two standard errors"
    far = guides([level, ("t0 = 1", place(0.105, 0.2))], 0.1)
    assert not far.near and len(far.curve) > 0 and max(x for x, _ in far.curve) <= 0.105
    assert "(outside, at 0.1414)" in far.texts()["sampler"]


def test_they_are_in_the_figure_of_a_run_unless_they_are_switched_off(drawn, tmp_path):
    run = {**summary(POINTS), "reference": CLEAN}
    dp_curve_plot(run, tmp_path / "with.png")
    dp_curve_plot(run, tmp_path / "without.png", guides=False)
    dp_curve_plot({**run, "exact": {"optimal": run["levels"]}}, tmp_path / "exact.png")
    whole, off, exact = drawn
    of_style = {line.get_linestyle(): line for line in whole.lines}
    assert list(of_style["--"].get_ydata()) == [0.1, 0.1], "the clean images"
    assert list(of_style["-."].get_xdata()) == pytest.approx([0.1414, 0.1414], abs=1e-4)
    dotted = of_style[":"]
    assert dotted.get_xydata()[0] == pytest.approx([0.1414, 0.1], abs=1e-4)
    assert dotted.get_xydata()[-1] == pytest.approx([0.1, 0.3])
    assert len(texts(whole)) == 3 and "no bound, a guide" in texts(whole)[1]
    assert texts(off) == [] and len(off.lines) == len(whole.lines) - 3
    assert texts(exact) == ["the 32 clean images themselves"], "the optimal curve itself is drawn"


def test_they_start_from_the_best_point_of_several_runs(drawn, tmp_path):
    runs = {"A": {**summary(POINTS), "reference": CLEAN}, "B": summary([(5, 0.09, 0.4), (6, 0.12, 0.3)])}
    overlay_plot(runs, tmp_path / "with.png")
    overlay_plot(runs, tmp_path / "without.png", guides=False)
    whole, off = drawn
    assert "D(P) from B, t0 = 5" in texts(whole)[1] and texts(off) == []


def test_they_are_on_the_page_of_a_run(tmp_path):
    run = write(tmp_path / "run", IDS)
    for option, there in (([], True), (["--no_guides"], False)):
        assert main(["merge", str(run), *option]) == 0
        page = (run / "report.html").read_text()
        data = json.loads(page.split('id="data">')[1].split("</script>")[0])
        assert (data["guides"] is not None) == there == ('id="with-guides"' in page)


def test_labels_of_near_points_do_not_cover_each_other():
    figure, axes = curve.new_plane(5, 4)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    labels = [Label(str(100 * k), 0.5 + 0.004 * k, 0.5, "black") for k in range(4)]
    add_labels(axes, labels, 9)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent().extents for text in axes.texts]
    assert len(boxes) == 4
    assert all(_overlap(a, b) == 0 for k, a in enumerate(boxes) for b in boxes[:k])
