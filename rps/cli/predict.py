"""rps predict: a LightningCLI whose every value can be overridden, and what happens around its run."""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
import warnings
from argparse import ArgumentError
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rps.cli import arguments, output, processes
from rps.cli.errors import InputError, is_bad_input, one_line, parser_sentence, root_of, sentence

CALLBACKS = ("MetricRecorder", "ImageWriter", "GridWriter", "CurvePlot", "ProgressBar")
TRAINER_DEFAULTS = {
    "inference_mode": False,  # samplers differentiate through the network
    "use_distributed_sampler": False,  # the datamodules split their samples themselves
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
}


def predict(argv: Sequence[str]) -> int:
    """Runs `rps predict`.  argv: the arguments after it.  -> the exit code; see rps.cli.HELP."""
    run = Run(argv)
    with processes.tidy():
        return _end(run)


def _end(run: Run) -> int:
    """The run to its end, whichever that is.  -> the exit code."""
    try:
        return run.main()
    except KeyboardInterrupt as interrupt:
        return run.interrupted(interrupt)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # so Lightning ends an interrupted run
            return run.interrupted(stop.__context__)
        return int(stop.code or 0)  # --print_config and --model.help end here
    except BaseException as error:
        return run.failed(error)


class Run:
    """One call of `rps predict`, which can end in four ways: done, failed, interrupted, or never begun."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = list(argv)
        self.trainer: Any = None
        self.directory: Path | None = None
        self.created = False
        self.begun = False  # is the run directory ours?
        self.started = False  # has the first batch started?
        self.failures: dict[str, str] = {}

    def main(self) -> int:
        given = arguments.read(self.argv)  # before the heavy imports, so that a mistake here is told at once
        _silence_lightning()
        cli = _make_cli(self, given)
        self.trainer = cli.trainer
        self.trainer.callbacks.insert(0, _make_keeper(self, cli))
        begin = time.time()
        with processes.more_of_the_same(self.argv):
            cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
        if processes.rank() > 0:
            return 0
        if given.own_pictures:
            _tell_limit(cli.datamodule)
        return self.done(begin)

    def free_directory(self, given: arguments.Arguments, config: Any) -> None:
        """Between parsing and building: an output that cannot be used is told before anything heavy is built."""
        where = config.trainer.default_root_dir
        if not where:
            raise InputError("there is no --output; give the folder to write to, e.g. --output runs/demo")
        self.directory = Path(str(where))
        if processes.rank() == 0:
            output.refuse_unless_free(self.directory, given.overwrite, _paths(config.data) + _paths(config.model))

    def begin(self, config: str) -> None:
        """The run directory, once the data are known to be there; what an earlier run left is removed this late."""
        assert self.directory is not None
        self.created = not self.directory.exists()
        output.begin(self.directory, config, self.argv)
        self.begun = True

    def done(self, since: float) -> int:
        assert self.directory is not None
        table = self.directory / "table.md"
        if table.is_file():
            print("\n" + table.read_text(encoding="utf-8").strip())
        print("\nWritten:")
        for line in output.written(self.directory, since):
            print("  " + line)
        levels = output.metrics(self.directory).get("levels", [])
        failed = max([level.get("failed", 0) for level in levels] + [len(self.failures)])
        if not failed:
            return 0
        reasons = output.reasons(self.directory) or self.failures
        _say(f"{failed} sample{'s' * (failed > 1)} failed; the others are done")
        for name, reason in list(reasons.items())[:20]:
            _say(f"failed: {name}: {one_line(reason)}")
        if len(reasons) > 20:
            _say(f"failed: and {len(reasons) - 20} more")
        return 3

    def failed(self, error: BaseException) -> int:
        """Tells one error once, whatever the number of processes."""
        error = root_of(error)
        bad_input = is_bad_input(error, self.started)
        if processes.rank() > 0:
            processes.let_the_first_speak(seconds=5)
        else:
            code = processes.ended_by_another(self.trainer, error)
            processes.end_others(self.trainer)
            self._abandon()
            if code is not None:
                return code if code > 0 else 1
        if not bad_input or os.environ.get("RPS_DEBUG"):
            traceback.print_exception(error)
        if not bad_input:
            _say("the above looks like a bug in rps or in a class that it was given")
            return 1
        _say("error: " + sentence(error))
        return 2

    def interrupted(self, interrupt: BaseException) -> int:
        code = 143 if isinstance(interrupt, processes.Terminated) else 130
        if processes.rank() > 0:
            processes.let_the_first_speak(seconds=60)
            return code
        if not self.begun or self._abandon():
            _say("interrupted before anything was done; nothing was kept")
            return code
        levels = output.metrics(self.directory).get("levels", []) if self.directory else []
        count = f"{levels[0]['n']} finished samples are" if levels else "what was finished is"
        _say(f"interrupted; {count} kept in {self.directory}")
        return code

    def _abandon(self) -> bool:
        return self.begun and self.directory is not None and output.abandon(self.directory, self.created)


def _make_cli(run: Run, given: arguments.Arguments) -> Any:
    """The LightningCLI of these arguments: parsed and built.  Errors: InputError, and what constructors raise."""
    from lightning import LightningDataModule, LightningModule, Trainer
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.callbacks import ProgressBar
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

    for room in ("modules", "datamodules", "rps.callbacks"):  # their classes can be named by their names alone
        import_module(room)

    class Cli(LightningCLI):
        def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            """No --seed_everything: random numbers are functions of the module's seed."""

        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            callbacks = [{"class_path": f"rps.callbacks.{name}"} for name in CALLBACKS]
            parser.set_defaults({"trainer.callbacks": callbacks})

        def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
            try:
                self.config = parser.parse_args(args)
            except ArgumentError as error:
                options = [*parser._option_string_actions, "--output", "--overwrite", "--seed"]
                raise InputError(parser_sentence(error, options)) from error

        def _set_seed(self) -> None:
            pass

        def before_instantiate_classes(self) -> None:
            run.free_directory(given, self.config)

        def instantiate_trainer(self, **kwargs: Any) -> Trainer:
            # The bars are those among the callbacks. Lightning would add one of its own, or refuse ours if told not to.
            settings = self.config_init["trainer"]
            callbacks = settings["callbacks"] or []
            callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
            bars = [c for c in callbacks if isinstance(c, ProgressBar)]
            wanted = settings["enable_progress_bar"] is not False
            kwargs["callbacks"] = callbacks if wanted else [c for c in callbacks if c not in bars]
            kwargs["enable_progress_bar"] = wanted and bool(bars)
            try:
                return super().instantiate_trainer(**kwargs)
            except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
                raise InputError(f"trainer: {one_line(error)}") from error

    return Cli(
        LightningModule,
        LightningDataModule,
        save_config_callback=None,
        seed_everything_default=False,
        trainer_defaults=TRAINER_DEFAULTS,
        parser_kwargs={"exit_on_error": False},
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        args=given.for_lightning(),
        run=False,
    )


def _make_keeper(run: Run, cli: Any) -> Any:
    """The callback that begins the run directory, notes what failed, and makes SIGTERM an interrupt."""
    import signal
    import threading

    from lightning import Callback

    class Keeper(Callback):
        def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
            if trainer.is_global_zero:
                run.begin(cli.parser.dump(cli.config, skip_unset=False))
            trainer.strategy.barrier("the run directory is there")

        def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
            # Lightning only takes a note of SIGTERM, which its predict loop never reads.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, processes.terminate)

        def on_predict_batch_start(self, *args: Any) -> None:
            run.started = True

        def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *args: Any) -> None:
            run.failures.update(getattr(outputs, "failures", {}))

    return Keeper()


def _silence_lightning() -> None:
    """Its remarks on devices, workers and tips; our own output stays."""
    import lightning.pytorch  # configures its loggers, so it must come first  # noqa: F401

    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\.")
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(torch|diffusers|datasets|timm)\.")


def _paths(section: Any) -> list[str]:
    """Values that name existing files or folders, anywhere in a section of the config."""
    values = [value for _, value in section.items()] if section is not None else []
    return [value for value in values if isinstance(value, str) and value and os.path.exists(os.path.expanduser(value))]


def _tell_limit(datamodule: Any) -> None:
    total, used = datamodule.total(), datamodule.num_samples
    if used is not None and total > used:
        _say(f"{used} of the {total} pictures were used; --data.limit null uses all")


def _say(text: str) -> None:
    print(f"rps: {text}", file=sys.stderr)
