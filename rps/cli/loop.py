"""The parts of the command that run inside Lightning: the parser, and a callback for the run directory."""

from __future__ import annotations

from argparse import ArgumentError
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace
from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from modules.methods import Method
from rps.cli import arguments, callbacks, loggers, signals
from rps.cli.classes import find
from rps.cli.errors import InputError, one_line, parser_sentence
from rps.cli.streams import say
from rps.protocol import RunModule, run_data, run_module
from rps.records.files import level_name
from rps.restoration import Level

if TYPE_CHECKING:
    from rps.cli.predict import Run

TRAINER_DEFAULTS = {
    "use_distributed_sampler": False,  # the datamodules split their samples themselves
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
}


class RunCli(LightningCLI):
    """Parses the arguments and creates the objects they name.  Errors: InputError, and whatever constructors raise.

    opened: called with the arguments, the parsed config and its YAML, before anything is built.
    """

    def __init__(self, given: arguments.Arguments, opened: Callable[[arguments.Arguments, Any, str], None]) -> None:
        # Lets users give these classes by short names.
        for room in ("modules", "datamodules", "rps.callbacks", "lightning.pytorch.loggers"):
            import_module(room)
        self.given, self.opened = given, opened
        super().__init__(
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

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """No --seed_everything: random numbers are functions of the module's seed."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults(
            {"trainer.callbacks": [{"class_path": f"rps.callbacks.{name}"} for name in callbacks.CALLBACKS]}
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            with arguments.bounded_parser():
                self.config = parser.parse_args(args)
        except ArgumentError as error:
            options = [*parser._option_string_actions, *arguments.OWN_OPTIONS]
            raise InputError(parser_sentence(error, options)) from error

    def _set_seed(self) -> None:
        pass

    def before_instantiate_classes(self) -> None:
        arguments.check_trainer(self.config.trainer)
        self.opened(self.given, self.config, self.parser.dump(self.config, skip_unset=False, skip_validation=True))
        loggers.place(self.config.trainer.logger, self.config.trainer.default_root_dir)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        # Only bars among the callbacks count: otherwise Lightning adds its own, or refuses ours if bars are disabled.
        settings = self.config_init["trainer"]
        given = settings["callbacks"] or []
        given = given if isinstance(given, list) else [given]
        bars = [c for c in given if isinstance(c, ProgressBar)]
        wanted = settings["enable_progress_bar"] is not False
        kwargs["callbacks"] = given if wanted else [c for c in given if c not in bars]
        kwargs["enable_progress_bar"] = wanted and bool(bars)
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
            raise InputError(f"trainer: {one_line(error)}") from error


def _left_sentence(module: RunModule, left: Sequence[Level], count: int) -> str:
    """What is left to do for samples that lack levels, and what of it was done before."""
    names = f"{module.knob} = {', '.join(map(level_name, left))}"
    text = f"{count} recorded sample{'s lack' if count != 1 else ' lacks'} {names} alone"
    if not module.level_arguments:
        return f"{text}, which needs all levels again"
    rest = [level for level in module.levels or () if level not in left]
    calls, others, every = (module.network_calls_per_image(levels) or 0 for levels in (left, rest, module.levels))
    again = calls + others - every
    more = " for each tile" if module.any_size else ""
    more += f", {again} of them again, since only pictures are saved" if again else ""
    return f"{text}: {calls} network calls each{more}"


class ConfigCli(RunCli):
    """Parses the arguments and checks the config; of what it names, only the traversal of a Method is built."""

    def instantiate_classes(self) -> None:
        model, method = self.config.model, find(self.config.model.class_path)
        if isinstance(method, type) and issubclass(method, Method):
            parser = ArgumentParser(exit_on_error=False)
            names = parser.add_method_arguments(method, "build")
            given = parser.instantiate_classes(Namespace({name: model.init_args[name] for name in names}))
            method.__new__(method).build(**given.as_dict())


class Keeper(Callback):
    """The first callback: begins and guards the run directory, watches the other processes, records failures.

    It gives the Trainer its loggers when the first batch is restored: a run that ends before leaves no files of theirs.
    """

    def __init__(self, run: Run, loggers: Sequence[Any]) -> None:
        assert run.session is not None and run.children is not None
        self.run, self.session, self.children, self.loggers = run, run.session, run.children, loggers

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        if trainer.is_global_zero:
            self.session.begin()
        trainer.strategy.barrier("run directory exists")
        if not trainer.is_global_zero:
            self.session.lock.join()

    def on_predict_start(self, trainer: Any, pl_module: Any) -> None:
        signals.heed()
        self.children.take()
        if self.session.resumed:
            done, module = len(run_data(trainer).skip_ids), run_module(pl_module)
            say(f"resuming {self.session.directory}: {done} sample{'s are' if done != 1 else ' is'} done")
            for left, count in Counter(module.levels_left.values()).most_common(3):
                say(_left_sentence(module, left, count))

    def on_predict_batch_start(self, *args: Any) -> None:
        self.run.started = True

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *args: Any) -> None:
        self.children.check()
        self.session.directory.check_there()
        if getattr(outputs, "ids", True):
            self.run.restored = True
            self.session.directory.commit()
            if not trainer.loggers:
                trainer.loggers = self.loggers
                for logger in self.loggers:
                    getattr(logger, "experiment", None)  # opens it, so that an unusable one is reported now
        self.run.failures.update(getattr(outputs, "failures", {}))

    def on_predict_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.loggers = self.loggers

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Ends the other processes before a callback merges the records, which may outlast Lightning's observer."""
        self.children.end(patience=0 if isinstance(exception, KeyboardInterrupt) else 2)
