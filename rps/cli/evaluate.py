"""rps evaluate: the metrics of a run anew, from its saved pictures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rps.cli import arguments, processes
from rps.cli.callbacks import class_node
from rps.cli.choices import choices
from rps.cli.classes import find
from rps.cli.errors import InputError, SentenceParser
from rps.cli.predict import Run, to_its_end
from rps.cli.streams import show, show_written

HELP = """\
usage: rps evaluate RUN [--metric CLASS] [--lpips NET] [--features CLASS] [--reference FILE] [options]

Compute the metrics, features, distances and intervals of a run anew, from its saved pictures and its data. Nothing is
restored and the prior is not called. Without options, the figures of the run come out again, to the last digit.

  rps evaluate runs/demo --metric my_metrics.Sharpness          one more metric
  rps evaluate runs/faces --lpips alex                          LPIPS, or LPIPS of another network
  rps evaluate runs/faces --features InceptionFeatures --reference ffhq.safetensors
  rps evaluate runs/demo --features null                        no features and no distances

What is not given is as in RUN/config.yaml. It names the classes to run, so evaluate only runs that you trust. The new
records take the place of the old ones, all at once, when every picture is evaluated, and RUN/config.yaml has the new
settings from then on. A command that fails or is interrupted leaves RUN as it was. To keep both, copy RUN first.

Costs, seconds and failures are kept, and so are the values of metrics that need more than a picture of 8 bits:
consistency and residual (of the image before it is rounded) and spread (of the chains that were averaged). RUN must
have the pictures of all samples, as rps.callbacks.ImageWriter writes them, and the data must be where they were.

options:
  --metric CLASS     an additional metric, from rps.metrics or your own, or YAML with class_path and init_args; one
                     with the name of a metric of RUN replaces it; may be repeated
  --lpips NET        vgg or alex: --metric '{class_path: rps.metrics.Lpips, init_args: {net: NET}}'
  --features CLASS   the feature network, or YAML with class_path and init_args; null for none
  --reference FILE   the reference set of the Frechet distance: a file, or embedded; null is the clean images of RUN
  --data.batch_size N, --data.num_workers N, --trainer.accelerator NAME, --trainer.devices N
                     how the figures are computed, as for rps predict

exit codes: 0 all done; the others as for rps predict.
"""

NOT_HERE = ("--config", "-c", "--output", "--overwrite", "--retry_failed", "--seed", "--trainer.callbacks")
"""Options of rps predict that would make another run."""


def run_evaluate(argv: Sequence[str]) -> int:
    """Runs `rps evaluate`.  argv: the arguments after it.  -> the exit code."""
    return to_its_end(Evaluate(argv))


class Evaluate(Run):
    """One call of `rps evaluate`: a predict loop over the data of a run that restores nothing."""

    def read(self) -> arguments.Arguments:
        from rps.records import RunDirectory, check_has_records

        if not self.argv or self.argv[0].startswith("-"):
            raise InputError("rps evaluate takes a run directory first, as in rps evaluate runs/demo --lpips vgg")
        parser = SentenceParser("rps evaluate", "a run directory and options")
        parser.add_argument("run", metavar="RUN")
        parser.add_argument("--metric", action="append", default=[])
        for option in ("--lpips", "--features", "--reference"):
            parser.add_argument(option)
        given, rest = parser.parse_known_args(self.argv)
        if other := next((option for option in rest if option.partition("=")[0].rstrip("+") in NOT_HERE), None):
            raise InputError(f"{other} is not an option of rps evaluate (see rps evaluate --help)")
        self.run = Path(given.run)
        check_has_records(self.run)
        trainer = RunDirectory(self.run).config().get("trainer") or {}
        callbacks = json.dumps(_with_options(trainer.get("callbacks") or [], given))
        files = ["--config", str(self.run / "config.yaml"), "--output", str(self.run)]
        return arguments.read([*files, "--trainer.callbacks", callbacks, *rest])

    def open(self, given: arguments.Arguments, config: Any, dumped: str) -> None:
        import yaml

        from rps.records import EvaluationSession

        chosen = choices(yaml.safe_load(dumped))
        self.session = EvaluationSession(self.run, dumped, self.argv, overwrite=False, choices=chosen)
        if processes.rank() == 0:
            self.session.check()

    def prepare(self, given: arguments.Arguments, cli: Any) -> None:
        from modules import SolverModule
        from rps.callbacks import MetricRecorder, ProgressBar
        from rps.callbacks.saved_recorder import NoLevels, SavedRecorder
        from rps.protocol import RunData

        if not isinstance(cli.model, SolverModule):
            kind = type(cli.model).__name__
            raise InputError(f"rps evaluate needs a model derived from modules.SolverModule, got {kind}")
        trainer = cli.trainer
        recorder = next(callback for callback in trainer.callbacks if isinstance(callback, MetricRecorder))
        saved = SavedRecorder(recorder, self.run)
        cli.model.traversal = NoLevels(saved.records.knob)
        if isinstance(cli.datamodule, RunData):
            cli.datamodule.only_ids = saved.ids
        trainer.limit_predict_batches = 1.0
        trainer.callbacks = [*(c for c in trainer.callbacks if isinstance(c, ProgressBar)), saved]

    def done(self) -> int:
        from rps.report.finish import FILES

        show("\n" + (self.run / "table.md").read_text(encoding="utf-8").strip())
        names = ("config.yaml", *FILES, "records", "features")
        show_written(self.run / name for name in names if (self.run / name).exists())
        return 0


def _with_options(callbacks: list[Any], given: argparse.Namespace) -> list[Any]:
    """The callbacks of a run, its recorder with the options of the command.  Errors: InputError."""
    from rps.callbacks import MetricRecorder

    kinds = [find(node["class_path"]) for node in callbacks]
    i = next((i for i, kind in enumerate(kinds) if isinstance(kind, type) and issubclass(kind, MetricRecorder)), None)
    if i is None:
        raise InputError(f"the config of {given.run} has no rps.callbacks.MetricRecorder, whose settings are needed")
    options = dict(callbacks[i].get("init_args") or {})
    added = [class_node("--metric", text) for text in given.metric]
    if given.lpips is not None:
        added.append({"class_path": "rps.metrics.Lpips", "init_args": {"net": given.lpips}})
    if added:
        names = {_name(metric) for metric in added} - {None}
        options["metrics"] = [m for m in options.get("metrics") or () if _name(m) not in names] + added
    if given.features == "null":
        options |= {"features": None, "reference": None}
    elif given.features is not None:
        options["features"] = class_node("--features", given.features)
    if given.reference is not None:
        options["reference"] = None if given.reference == "null" else given.reference
    return [*callbacks[:i], {**callbacks[i], "init_args": options}, *callbacks[i + 1 :]]


def _name(metric: Mapping[str, Any]) -> str | None:
    """The name of a metric, if all objects of its class have one name."""
    return getattr(find(metric["class_path"]), "name", None)
