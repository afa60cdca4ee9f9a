"""The cells of the table of methods against the exact posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rps.report.cells import number


def oracle_rows(lines: Sequence[tuple[str, Mapping[str, Mapping[str, float | None]]]]) -> list[list[str]]:
    """The titles, the values expected of an exact sampler, and one row per method or level: "value (standard error)".

    lines: (name, figures), all with the same figures, each with "value", "se" and "zero" as in metrics.json.
    """
    names = list(lines[0][1])
    exact = [number(lines[0][1][name]["zero"], 3) for name in names]
    rows = [
        [line, *(f"{number(of[name]['value'], 3)} ({number(of[name]['se'], 3)})" for name in names)]
        for line, of in lines
    ]
    return [["method", *names], ["the exact law", *exact], *rows]
