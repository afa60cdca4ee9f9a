"""The table of methods against the exact posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rps.oracle.measures import Figure


def oracle_table(lines: Sequence[tuple[str, Mapping[str, Figure]]]) -> list[str]:
    """A markdown table of figures with standard errors in parentheses: one line for the values expected of an exact
    sampler, then one per method or level.  lines: (name, figures), all with the same figures."""
    names = list(lines[0][1])
    zero = [f"*{lines[0][1][name].zero:.3f}*" for name in names]
    rows = [[line, *(f"{of[name].value:.3f} ({of[name].se:.3f})" for name in names)] for line, of in lines]
    cells = [["method", *names], ["---"] * (len(names) + 1), ["*the exact law*", *zero], *rows]
    return ["| " + " | ".join(row) + " |" for row in cells]
