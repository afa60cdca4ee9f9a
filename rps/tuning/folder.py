"""The folder of a search: how it is recognised, and what a search may resume in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rps.bounded_yaml import load_yaml
from rps.records.changes import changes, differences
from rps.records.files import write_json, write_text
from rps.tuning.figure import trials_plot
from rps.tuning.objective import Objective
from rps.tuning.results import as_json, page
from rps.tuning.space import Space
from rps.tuning.trials import Trial

SEARCH = "search.yaml"
MARKER = "# rps tune, format 1\n"


class SearchRefused(ValueError):
    """This search may not write to the folder."""


def check(folder: Path, search: Mapping[str, Any]) -> bool:
    """Whether a search resumes the one in the folder.  Nothing is changed.

    search: "config" of the base run, and everything else that defines the search. Errors: SearchRefused if the folder
    holds something else.
    """
    place = folder / SEARCH
    if folder.exists() and not folder.is_dir():
        raise SearchRefused(f"output {folder} is not a folder; give another --output")
    if not place.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise SearchRefused(f"output {folder} is not empty and holds no search of rps tune; give another --output")
        return False
    text = place.read_text(encoding="utf-8")
    earlier = load_yaml(text) if text.startswith(MARKER) else None
    if not isinstance(earlier, dict):
        raise SearchRefused(f"{place} was not written by rps tune; give another --output")
    old, new = dict(earlier), dict(search)
    found = changes(old.pop("config", {}), new.pop("config"))
    found += [f"{key} was {before} and is now {now}" for key, before, now in differences(old, new)]
    if found:
        more = ", ..." if len(found) > 5 else ""
        raise SearchRefused(f"{folder} holds another search: {'; '.join(found[:5])}{more}; give another --output")
    return True


def begin(folder: Path, search: Mapping[str, Any]) -> None:
    """Makes the folder of a new search.  Errors: those of `check`."""
    if not check(folder, search):
        import yaml

        write_text(folder / SEARCH, MARKER + yaml.safe_dump(dict(search), sort_keys=False))


def write_results(
    folder: Path,
    trials: Sequence[Trial],
    space: Space,
    objective: Objective,
    choice: Trial | None,
    config: Mapping[str, Any],
) -> list[Path]:
    """Writes trials.md and trials.json and, if a trial was completed, best.yaml and trials.png.  -> the files written.

    choice: the trial whose settings to use, or None. config: its settings as a config.
    """
    best, *files = (folder / name for name in ("best.yaml", "trials.md", "trials.json"))
    write_text(files[0], page(trials, space, objective, choice))
    write_json(files[1], as_json(trials, space, objective, choice))
    if choice is None:
        return files
    import yaml

    head = f"# Trial {choice.number} of {len(trials)}, by {objective.title}; merges over the configs of the search.\n"
    write_text(best, head + yaml.safe_dump(dict(config), sort_keys=False))
    trials_plot(trials, space, objective, folder / "trials.png")
    return [best, *files, folder / "trials.png"]
