"""Compare every sampler and traversal with the exact posterior: the tables and the figure of docs/oracle.md.

    python tools/oracle.py --write          # evaluates all, then writes docs/oracle.md, oracle.json and the figure
    python tools/oracle.py --only sr2/Dps   # prints the cases whose name contains this: prior/task/method

docs/oracle.json holds the recorded gaps, which tests/test_oracle_table.py compares with its own at a small size.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import oracle_cases as oc
import torch
from oracle_breaks import breaks
from oracle_cases import FULL, OUTPUTS, SMALL, Case
from pages import DOCS, markdown, write_part

from rps.oracle import Figure, oracle_table
from rps.oracle.plane import Point
from rps.records import level_name, write_json
from rps.report.curve import BLUE, GREY, INK, ORANGE, new_plane

JSON, PICTURE = DOCS / "oracle.json", DOCS / "figures" / "oracle_curve.png"

Found = Mapping[str, Mapping[str, Figure]]


def recorded() -> dict[str, Any]:
    """The content of docs/oracle.json."""
    return json.loads(JSON.read_text(encoding="utf-8"))


def to_json(found: Mapping[Case, Found], laws: Mapping[Case, Mapping[str, float]]) -> dict[str, Any]:
    """figures: case -> line -> figure -> [value, standard error]; laws: case -> exact gaps."""
    figures = {
        str(case): {line: {name: [f.value, f.se] for name, f in of.items()} for line, of in lines.items()}
        for case, lines in found.items()
    }
    return {
        "settings": {"measurements": FULL, "outputs": OUTPUTS, "seed": 0, "torch": torch.__version__},
        "figures": figures,
        "laws": {str(case): dict(gaps) for case, gaps in laws.items()},
    }


def table(found: Mapping[Case, Found]) -> str:
    return "\n".join(oracle_table([line for lines in found.values() for line in lines.items()]))


def exact_table(found: Mapping[Case, Found]) -> str:
    """The distance of every figure from zero, in standard errors, for the methods that are exact."""
    own = {case: of[case.method] for case, of in found.items()}
    rows = [
        [case.prior, case.task, case.method, *(f"{figure.off:+.1f}" for figure in of.values())]
        for case, of in own.items()
    ]
    return markdown(["prior", "task", "method", *next(iter(own.values()))], rows)


def law_table(laws: Mapping[Case, Mapping[str, float]], long: Mapping[Case, Mapping[str, float]]) -> str:
    """The gaps of the output laws.  laws: steps of the tables, at most 100. long: 1000 steps."""
    rows = []
    for case, gaps in laws.items():
        both = [(", 100 steps", gaps), (", 1000 steps", long[case])] if case in long else [("", gaps)]
        for steps, of in both:
            rows.append([case.prior, case.task, case.method + steps, *(f"{value:.4f}" for value in of.values())])
    return markdown(["prior", "task", "method", "mean", "covariance", "W2"], rows)


def curve_table(found: Mapping[str, list[Point]]) -> str:
    head = [
        "traversal",
        "level",
        "MSE",
        "W2^2 to the posterior",
        "minus the closed form, in s.e.",
        "below D(P), in s.e.",
    ]
    plane, rows = oc.plane(), []
    for name, line in found.items():
        for point in line:
            laws = [oc.EXACT[name][1](point.level, plane.cov)] if name in oc.EXACT else []
            far = ", ".join(f"{x:+.1f}" for s in laws for x in plane.away(point, s))
            values = [f"{x.value:.4f} ({x.se:.4f})" for x in (point.mse, point.w2_squared)]
            rows.append([name, level_name(point.level), *values, far, f"{plane.below(point):+.1f}"])
    return markdown(head, rows)


def curve_plot(found: Mapping[str, list[Point]], path: Path) -> None:
    """Draws the closed-form curve and line of MAP-RPS, the two exact points, and all measured points."""
    figure, axes = new_plane(6.4, 4.6)
    plane = oc.plane()
    total = float(plane.cov.trace())
    w2 = torch.linspace(0, total**0.5, 200, dtype=torch.float64)
    line = torch.tensor([plane.known(oc.map_rps(t0, plane.cov), 10**9) for t0 in range(0, 1001, 5)])
    of_rps = (line[:, 0], line[:, 1].clamp(min=0).sqrt())
    axes.plot(plane.bound(w2), w2, color=INK, linewidth=1.4, label="optimal curve D(P), closed form", zorder=2)
    axes.plot(*of_rps, color=ORANGE, linewidth=1.2, label="MAP-RPS, closed form", zorder=2)
    axes.plot([total], [total**0.5], "*", color=INK, markersize=11, label="exact MMSE point", zorder=5)
    axes.plot([2 * total], [0], "P", color=INK, markersize=8, label="exact posterior sample", zorder=5)
    styles = zip(found.items(), "os^Dv<", (BLUE, "#56B4E9", ORANGE, "#009E73", "#CC79A7", GREY), strict=True)
    for (name, points), marker, color in styles:
        axes.errorbar(
            [p.mse.value for p in points], [max(p.w2_squared.value, 0.0) ** 0.5 for p in points],
            xerr=[p.mse.se for p in points], fmt=marker + ("" if name in oc.EXACT else ":"), color=color,
            markersize=4.5, linewidth=0.9, label=f"{name} ({', '.join(level_name(p.level) for p in points)})", zorder=3,
        )  # fmt: skip
    axes.set_xlabel("distortion: $E\\,||x - X||^2$")
    axes.set_ylabel("perception given y: $W_2$ to the posterior")
    axes.grid(color="#E6E6E6", linewidth=0.7, zorder=0)
    axes.set_axisbelow(True)
    axes.legend(fontsize=6.5, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def break_table(record: Mapping[str, Any]) -> str:
    rows = []
    for broken in breaks():
        samples, law = broken.noticed(record)
        verdict = "yes" if samples or law else f"no: {broken.unnoticed}" if broken.unnoticed else "NO"
        rows.append([broken.what, str(broken.case).replace("/", " / "), verdict, most(samples, " s.e."), most(law)])
        print(*rows[-1], sep=" | ", flush=True)
    return markdown(
        ["break", "prior / task / method", "noticed", "largest in samples", "largest in the exact law"], rows
    )


def most(differences: Mapping[str, float], unit: str = "") -> str:
    """The largest of some differences; NaN counts as largest."""
    if not differences:
        return ""
    name = max(differences, key=lambda name: (math.isnan(differences[name]), abs(differences[name])))
    return f"{name.split(': ')[-1]} ({differences[name]:+.{1 if unit else 3}f}{unit})"


def run(names: Sequence[str], n: int) -> dict[Case, Found]:
    found: dict[Case, Found] = {}
    chosen = [case for case in oc.cases() if not names or any(name in str(case) for name in names)]
    for i, case in enumerate(chosen):
        start = time.perf_counter()
        found[case] = oc.judge(case, n)
        print(f"[{i + 1}/{len(chosen)}] {case}: {time.perf_counter() - start:.1f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write docs/oracle.md, docs/oracle.json and the figure")
    parser.add_argument("--only", nargs="*", default=[], help="parts of prior/task/method; prints these alone")
    parser.add_argument("--measurements", type=int, default=FULL)
    arguments = parser.parse_args()
    if arguments.write and (arguments.only or arguments.measurements != FULL):
        parser.error("--write records the whole table; leave out --only and --measurements")
    torch.set_num_threads(1)

    found = run(arguments.only, arguments.measurements)
    if arguments.only:
        for case, of in found.items():
            print(f"\n**{case}**\n\n{table({case: of})}")
        return
    laws = {case: oc.propagated(case) for case in oc.law_cases()}
    long = {case: oc.propagated(case, 1000, 1) for case in laws if case.prior == "white"}
    record = to_json(found, laws)
    traversals = {name: traversal for name, (traversal, _) in oc.EXACT.items()}
    traversals |= {name: build() for name, build in oc.APPROXIMATE.items()}
    curves = {name: oc.plane().points(traversal) for name, traversal in traversals.items()}
    print("breaks", flush=True)
    exact = {case: of for case, of in found.items() if case.exact}
    sections = [
        (f"Exact in the limit, {FULL} measurements: standard errors away from zero", exact_table(exact)),
        ("The plane given y", curve_table(curves)),
        (f"Deliberate breaks, {SMALL} measurements", break_table(record)),
        ("Exact output laws", law_table(laws, long)),
    ]
    for prior in ("gaussian", "mixture"):
        for task in oc.FOUR:
            here = {case: of for case, of in found.items() if (case.prior, case.task) == (prior, task)}
            sections.append((f"{task}, {prior} prior, {FULL} measurements", table(here)))
    text = "\n".join(f"\n### {title}\n\n{lines}" for title, lines in sections)
    print(text)
    if arguments.write:
        write_json(JSON, record)
        write_part("oracle", "tables", text)
        curve_plot(curves, PICTURE)
        print("Written:", "docs/oracle.md", *(path.relative_to(DOCS.parent) for path in (JSON, PICTURE)), sep="\n  ")


if __name__ == "__main__":
    main()
