"""List the points of other runs that are below a run's points in both RMSE and distance.

    python tools/dominance.py runs/map_rps runs/dps_a runs/ccdf --equal-cost

A point of another run dominates a point of RUN if its RMSE and its square root of the Frechet distance are both lower,
each by more than one standard error of the difference, paired over the images. With --equal-cost, only points that cost
no more forward equivalents (rps.cost) than the point of RUN count.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import product
from typing import Any

from rps.records import level_name
from rps.records.reader import read_records
from rps.report.paired import compare_runs


def dominated(level: Mapping[str, Any], equal_cost: bool) -> bool:
    """Whether the other point of an entry of `compare_runs` dominates that of the run."""
    cost = level["cost"]
    if equal_cost and cost["name"] != "forward_equivalents":
        raise ValueError("--equal-cost needs runs that count forward equivalents; one was made by an earlier version")
    if equal_cost and cost["other"] > cost["run"]:
        return False
    figures = (level["metrics"]["rmse"], level["metrics"]["sqrt_frechet"])
    return all(figure["difference"] > figure["se"] for figure in figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("others", metavar="OTHER", nargs="+")
    parser.add_argument("--equal-cost", action="store_true")
    given = parser.parse_args()
    for other in given.others:
        pairs = list(product(read_records(given.run).levels, read_records(other).levels))
        levels = compare_runs(given.run, other, pairs=pairs)["levels"]
        found = [level for level in levels if dominated(level, given.equal_cost)]
        print(f"{other}: {len(found) or 'no'} points dominate points of {given.run}")
        for level in found:
            changes = (
                "{} {:+.4f} (se {:.4f})".format(name, -figure["difference"], figure["se"])
                for name, figure in (("RMSE", level["metrics"]["rmse"]), ("sqrt FD", level["metrics"]["sqrt_frechet"]))
            )
            print(f"  {level_name(level['other_level'])} over {level_name(level['level'])}: {', '.join(changes)}")


if __name__ == "__main__":
    main()
