"""The table of methods against the exact posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rps.oracle.measures import Figure
from rps.report.oracle_rows import oracle_rows


def oracle_table(lines: Sequence[tuple[str, Mapping[str, Figure]]]) -> list[str]:
    """A markdown table of figures with standard errors in parentheses: one line for the values expected of an exact
    sampler, then one per method or level.  lines: (name, figures), all with the same figures."""
    titles, exact, *rows = oracle_rows([(name, {k: of._asdict() for k, of in found.items()}) for name, found in lines])
    cells = [titles, ["---"] * len(titles), [f"*{cell}*" for cell in exact], *rows]
    return ["| " + " | ".join(row) + " |" for row in cells]
