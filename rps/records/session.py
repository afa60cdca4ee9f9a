"""One start of a run in its directory: it resumes or replaces an earlier run and cleans up after an early end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from glob import iglob
from itertools import islice
from pathlib import Path
from typing import Any

from rps.records.choices import NONE, Choices
from rps.records.directory import RunDirectory
from rps.records.lock import RunLock

MOST_MATCHES = 10_000
"""Largest number of matches of a path pattern that are considered."""


class Session:
    """One start of a run in its directory, on one of its processes.

    Call `check` before anything heavy; then `begin` in the first process, `lock.join` in the others, and `lock.release`
    at the end.

    Args:
        path: the run directory.
        config: the whole config, as YAML.
        command: the arguments of rps predict.
        overwrite: whether an earlier run is replaced.
        inputs: paths that the run reads, which --overwrite must not remove.
        choices: what the config only chooses, so that an earlier run is extended to it.
    """

    def __init__(
        self,
        path: str | Path,
        config: str,
        command: Sequence[str],
        overwrite: bool,
        inputs: Sequence[str] = (),
        choices: Choices = NONE,
    ) -> None:
        self.directory = RunDirectory(path, choices)
        self.config, self.command, self.overwrite, self.inputs = config, command, overwrite, inputs
        self.lock = RunLock(self.directory.path)
        self.since = time.time()  # the start; 0 once an earlier run is resumed, whose files count as written
        self.created = False
        self.begun = False
        self.resumed = False

    def check(self) -> bool:
        """Whether the run resumes an existing one.  Errors: RunRefused; nothing is changed."""
        return self.directory.check(self.config, self.overwrite, self.inputs)

    def begin(self) -> None:
        """Locks and prepares the directory.  Errors: RunLocked, and those of `check`, which is repeated here."""
        self.created = not self.directory.path.exists()
        self.lock.begin()
        self.resumed = self.check()
        if self.resumed:
            self.directory.resume(self.config, self.command)
            self.since = 0
        else:
            self.directory.begin(self.config, self.command)
        self.begun = True
        self.lock.join()

    def kept(self) -> str:
        """A phrase on what a run that ended early keeps; an empty run directory is removed."""
        if self.begun and self.directory.abandon(self.created):
            return "nothing was done yet, and nothing was kept"
        if not os.path.isdir(self.directory.path / "records"):
            return "no sample was finished; the same command starts again"
        levels = self.directory.metrics().get("levels", [])
        count = f"{levels[0]['n']} finished samples are" if levels else "finished samples are"
        return f"{count} kept in {self.directory}; the same command resumes from there"

    def troubles(self, failures: Mapping[str, str], restored: bool = True) -> list[str]:
        """Sentences on what went wrong in a completed run; none if nothing did.

        failures: id -> reason in this process, for runs whose recorder writes no metrics.json. restored: whether this
        process restored a sample.
        """
        found, sentences = self.directory.metrics(), []
        recorded = os.path.isdir(self.directory.path / "records")  # by a recorder of the user, without metrics.json
        if repeated := found.get("repeated_ids", []):
            more = ", ..." if len(repeated) > 5 else ""
            sentences.append(
                f"{len(repeated)} id{'s' * (len(repeated) > 1)} came more than once ({', '.join(repeated[:5])}{more}), "
                "and only one sample of each is kept; give unique ids and another --output"
            )
        levels = found.get("levels", [])
        if failed := max([level.get("failed", 0) for level in levels] + [len(failures)]):
            restored = not levels or any(level.get("n") for level in levels)
            some = f"{failed} sample{'s' * (failed > 1)} failed; the others are done"
            sentences.append(some if restored else f"all {failed} samples failed")
            reasons = found.get("failures") or failures
            sentences += [f"failed: {name}: {' '.join(why.split())}" for name, why in list(reasons.items())[:20]]
            if len(reasons) > 20:
                sentences.append(f"failed: and {len(reasons) - 20} more")
        elif not restored and not any(level.get("n") for level in levels) and (levels or not recorded):
            sentences.append(
                "no sample was restored: the data have none; check data.subset, data.skip and data.limit, and "
                "limit_predict_batches of the trainer"
            )
        return sentences


def paths_in(value: Any) -> Iterator[str]:
    """Existing files and folders that a config names anywhere, also by patterns, except its outputs."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in ("default_root_dir", "output", "save_dir"):
                yield from paths_in(item)
    elif isinstance(value, list | tuple | Set):
        for item in value:
            yield from paths_in(item)
    elif isinstance(value, os.PathLike):  # from an argument typed Path
        yield from paths_in(os.fsdecode(value))
    elif isinstance(value, str) and value and "\0" not in value:
        path = os.path.expanduser(value)
        yield from [path] if os.path.lexists(path) else islice(iglob(path, recursive=True), MOST_MATCHES)
