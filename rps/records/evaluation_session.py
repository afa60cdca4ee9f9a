"""One start of `rps evaluate` on a run, of which it changes the records and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rps.records.changes import changes
from rps.records.config_file import with_event
from rps.records.directory import RunRefused, check_has_records, is_run
from rps.records.files import write_text
from rps.records.session import Session
from rps.records.staging import settle, stage


class EvaluationSession(Session):
    """A Session that keeps the config of the run, except the callbacks, whose recorder has other options."""

    def check(self) -> bool:
        """Errors: RunRefused if there is no such run, or if the config differs in more than the callbacks."""
        import yaml

        run = self.directory.path
        check_has_records(run)
        if not is_run(run):
            raise RunRefused(f"{run} is not a run that can be evaluated: its marker .rps-run is missing")
        before = self.directory.config()
        given = _with_callbacks(yaml.safe_load(self.config), before)
        if found := changes(*self.directory.choices.common(before, given)):
            raise RunRefused(
                f"rps evaluate changes only the metrics of {run}, but {'; '.join(found[:5])}; leave that out"
            )
        self.directory.check(yaml.safe_dump(given), overwrite=False)
        return False

    def begin(self) -> None:
        """Locks the run and makes the folder for the new records, with the new config.yaml in it."""
        import yaml

        self.lock.begin()
        self.directory.recover()
        self.check()
        config = _with_callbacks(self.directory.config(), yaml.safe_load(self.config))
        text = (self.directory.path / "config.yaml").read_text(encoding="utf-8")
        text = with_event(text, "evaluated", ["evaluate", *self.command], config)
        write_text(stage(self.directory.path) / "config.yaml", text)
        self.begun = True
        self.lock.join()

    def kept(self) -> str:
        done = self.begun and settle(self.directory.path)
        return f"{self.directory} is evaluated; rps merge makes its page" if done else f"{self.directory} is as it was"


def _with_callbacks(config: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the callbacks of another."""
    callbacks = (source.get("trainer") or {}).get("callbacks")
    return {**config, "trainer": {**(config.get("trainer") or {}), "callbacks": callbacks}}
