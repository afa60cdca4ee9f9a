"""Every sampler and traversal against the exact posterior: the tables and the figure of docs/oracle.md.

    python tools/oracle.py --write          # judges everything, then writes docs/oracle.md, oracle.json and the figure
    python tools/oracle.py --only sr2/Dps   # prints the cases whose name contains this: prior/task/method

docs/oracle.json holds the recorded gaps, which tests/test_oracle_table.py compares with what it finds at a small size.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import oracle_curve
import torch
from oracle_breaks import breaks
from oracle_cases import FOUR, FULL, OUTPUTS, SMALL, Case, cases, judge, law_cases, propagated
from oracle_curve import APPROXIMATE, EXACT, Point

from rps.oracle.measures import Figure
from rps.oracle.report import oracle_table
from rps.records import level_name, write_json, write_text

DOCS = Path(__file__).parent.parent / "docs"
JSON, PAGE, PICTURE = DOCS / "oracle.json", DOCS / "oracle.md", DOCS / "figures" / "oracle_curve.png"
BEGIN, END = "<!-- tables -->\n", "<!-- end of tables -->"

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


def row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def header(cells: Sequence[str]) -> list[str]:
    return [row(cells), "|" + "---|" * len(cells)]


def table(found: Mapping[Case, Found]) -> list[str]:
    return oracle_table([line for lines in found.values() for line in lines.items()])


def exact_table(found: Mapping[Case, Found]) -> list[str]:
    """Of the methods that are exact: how far every figure is from zero, in standard errors."""
    names = list(next(iter(next(iter(found.values())).values())))
    lines = header(["prior", "task", "method", *names])
    for case, of in found.items():
        offs = [f"{of[case.method][name].off:+.1f}" for name in names]
        lines.append(row([case.prior, case.task, case.method, *offs]))
    return lines


def law_table(laws: Mapping[Case, Mapping[str, float]], long: Mapping[Case, Mapping[str, float]]) -> list[str]:
    """laws: at the steps of the tables, at most 100. long: at 1000, where the table has so many."""
    lines = header(["prior", "task", "method", "mean", "covariance", "W2"])
    for case, gaps in laws.items():
        steps = ", 100 steps" if case in long else ""
        lines.append(row([case.prior, case.task, case.method + steps, *(f"{value:.4f}" for value in gaps.values())]))
        if case in long:
            values = (f"{value:.4f}" for value in long[case].values())
            lines.append(row([case.prior, case.task, f"{case.method}, 1000 steps", *values]))
    return lines


def curve_table(found: Mapping[str, list[Point]]) -> list[str]:
    lines = header(
        ["traversal", "level", "MSE", "W2^2 to the posterior", "minus the closed form, in s.e.", "below D(P), in s.e."]
    )
    for name, line in found.items():
        for point in line:
            far = ""
            if name in EXACT:
                far = ", ".join(f"{x:+.1f}" for x in oracle_curve.away(point, EXACT[name][1]))
            values = [f"{x.value:.4f} ({x.se:.4f})" for x in (point.mse, point.w2_squared)]
            lines.append(row([name, level_name(point.level), *values, far, f"{oracle_curve.below(point):+.1f}"]))
    return lines


def break_table(record: Mapping[str, Any]) -> list[str]:
    lines = header(["break", "prior / task / method", "noticed", "in samples, most in", "in the exact law, most in"])
    for broken in breaks():
        samples, law = broken.noticed(record)
        verdict = "yes" if samples or law else f"no: {broken.unnoticed}" if broken.unnoticed else "NO"
        case = str(broken.case).replace("/", " / ")
        lines.append(row([broken.what, case, verdict, most(samples, " s.e."), most(law)]))
        print(lines[-1], flush=True)
    return lines


def most(differences: Mapping[str, float], unit: str = "") -> str:
    """The largest of some differences, NaN before all numbers."""
    if not differences:
        return ""
    name = max(differences, key=lambda name: (math.isnan(differences[name]), abs(differences[name])))
    return f"{name.split(': ')[-1]} ({differences[name]:+.{1 if unit else 3}f}{unit})"


def run(names: Sequence[str], n: int) -> dict[Case, Found]:
    found: dict[Case, Found] = {}
    chosen = [case for case in cases() if not names or any(name in str(case) for name in names)]
    for i, case in enumerate(chosen):
        start = time.perf_counter()
        found[case] = judge(case, n)
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
            print("\n".join(["", f"**{case}**", "", *table({case: of})]))
        return
    laws = {case: propagated(case) for case in law_cases()}
    long = {case: propagated(case, 1000, 1) for case in laws if case.prior == "white"}
    record = to_json(found, laws)
    curves = {name: oracle_curve.points(traversal, oracle_curve.IMAGES) for name, (traversal, _) in EXACT.items()}
    curves |= {name: oracle_curve.points(build(), oracle_curve.IMAGES) for name, build in APPROXIMATE.items()}
    print("breaks", flush=True)
    exact = {case: of for case, of in found.items() if case.exact}
    sections = [
        (f"Exact in the limit, {FULL} measurements: standard errors away from zero", exact_table(exact)),
        ("The plane given y", curve_table(curves)),
        (f"Deliberate breaks, {SMALL} measurements", break_table(record)),
        ("Exact output laws", law_table(laws, long)),
    ]
    for prior in ("gaussian", "mixture"):
        for task in FOUR:
            here = {case: of for case, of in found.items() if (case.prior, case.task) == (prior, task)}
            sections.append((f"{task}, {prior} prior, {FULL} measurements", table(here)))
    text = "\n".join("\n".join([f"\n### {title}\n", *lines]) for title, lines in sections) + "\n"
    print(text)
    if arguments.write:
        write_json(JSON, record)
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        write_text(PAGE, f"{before}{BEGIN}{text}{END}{rest.partition(END)[2]}")
        oracle_curve.plot(curves, PICTURE)
        print("Written:", *(str(path.relative_to(DOCS.parent)) for path in (PAGE, JSON, PICTURE)), sep="\n  ")


if __name__ == "__main__":
    main()
