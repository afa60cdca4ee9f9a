"""rps predict: a LightningCLI whose every value can be overridden, and what happens around its run."""

from __future__ import annotations

import os
import sys
import time
import traceback
from argparse import ArgumentError
from collections.abc import Iterator, Mapping, Sequence, Set
from glob import iglob
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any

from rps.cli import arguments, processes
from rps.cli.errors import InputError, is_bad_input, one_line, parser_sentence, root_of, sentence
from rps.cli.keeper import make_keeper
from rps.cli.quiet import quiet
from rps.cli.streams import say, show, show_written
from rps.printable import printable_lines

if TYPE_CHECKING:
    from rps.records.directory import RunDirectory

MOST_MATCHES = 10_000
"""Of a pattern of paths, that are looked at."""
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
        try:
            return _end(run)
        finally:
            run.release()


def _end(run: Run) -> int:
    """The run to its end, whichever that is; signals that arrive once it has ended change nothing.  -> exit code."""
    try:
        code = run.main()
        processes.ignore_signals()
        return code
    except KeyboardInterrupt as interrupt:
        return run.interrupted(interrupt)
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # so Lightning ends an interrupted run
            return run.interrupted(stop.__context__)
        return _code(stop)  # --print_config and --model.help end here
    except BaseException as error:
        return run.failed(error)


def _code(stop: SystemExit) -> int:
    """The exit code of sys.exit, whose argument may be a text to print."""
    if stop.code is None or isinstance(stop.code, int):
        return int(stop.code or 0)
    say(f"error: {one_line(stop.code)}")
    return 1


class Run:
    """One call of `rps predict`, which can end in four ways: done, failed, interrupted, or never begun."""

    def __init__(self, argv: Sequence[str]) -> None:
        self.argv = list(argv)
        self.trainer: Any = None
        self.directory: RunDirectory | None = None
        self.config = ""  # all of it, as YAML
        self.overwrite = False
        self.inputs: list[str] = []  # paths that the run reads
        self.lock: Any = None
        self.created = False
        self.begun = False  # is the run directory ours?
        self.resumed = False  # does it resume what is there?
        self.started = False  # has the first batch started?
        self.failures: dict[str, str] = {}

    def main(self) -> int:
        given = arguments.read(self.argv)  # before the heavy imports, so that a mistake here is reported at once
        quiet()
        cli = _make_cli(self, given)
        self.trainer = cli.trainer
        processes.check_strategy(self.trainer.strategy)
        for callback in self.trainer.callbacks:
            if given.retry_failed and hasattr(callback, "retry_failed"):
                callback.retry_failed = True
        self.trainer.callbacks.insert(0, make_keeper(self))
        begin = time.time()
        with processes.more_of_the_same(self.argv, self.failed_in_fork):
            cli.trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
        if processes.rank() > 0:
            return 0
        if given.own_pictures:
            _tell_limit(cli.datamodule)
        return self.done(begin)

    def check_directory(self, given: arguments.Arguments, config: Any, dumped: str) -> None:
        """Between parsing and building: an output that cannot be used is reported first."""
        where = config.trainer.default_root_dir
        if not where:
            raise InputError("there is no --output; give the folder to write to, e.g. --output runs/demo")
        from rps.records.directory import RunDirectory

        self.directory, self.config, self.overwrite = RunDirectory(str(where)), dumped, given.overwrite
        parsed = config.as_dict()  # which also has the files of --config, of which the run directory may be the place
        self.inputs = list(_paths({section: parsed.get(section) for section in arguments.SECTIONS}))
        if processes.rank() == 0:
            self.directory.check(self.config, self.overwrite, self.inputs)

    def begin(self) -> None:
        """The run directory, once the data are known to be there."""
        from rps.records.lock import RunLock

        assert self.directory is not None
        self.created = not self.directory.path.exists()
        self.lock = RunLock(self.directory.path)
        self.lock.begin()
        # Once more, for what another run has written since.
        self.resumed = self.directory.check(self.config, self.overwrite, self.inputs)
        if self.resumed:
            self.directory.resume(self.argv)
        else:
            self.directory.begin(self.config, self.argv)
        self.begun = True
        self.lock.join()

    def join(self) -> None:
        """Processes other than the first, once it has begun."""
        from rps.records.lock import RunLock

        assert self.directory is not None
        self.lock = RunLock(self.directory.path)
        self.lock.join()

    def report_resumed(self, done: int) -> None:
        """done: how many samples need not be done again."""
        say(f"resuming {self.directory}, where {done} sample{'s are' if done != 1 else ' is'} done")

    def done(self, since: float) -> int:
        assert self.directory is not None
        self.directory.check_there()
        table, found = self.directory.path / "table.md", self.directory.metrics()
        if table.is_file():
            show("\n" + table.read_text(encoding="utf-8").strip())
        if self.directory.put_back():
            say(f"nothing was restored, so the earlier run in {self.directory} is back in its place")
        else:
            show_written(self.directory.written(0 if self.resumed else since))
        repeated = found.get("repeated_ids", [])
        if repeated:
            more = ", ..." if len(repeated) > 5 else ""
            say(
                f"{len(repeated)} id{'s' * (len(repeated) > 1)} came more than once ({', '.join(repeated[:5])}{more}), "
                "and only one sample of each is kept; take ids that differ and another --output"
            )
        levels = found.get("levels", [])
        failed = max([level.get("failed", 0) for level in levels] + [len(self.failures)])
        if not failed:
            return 3 if repeated else 0
        reasons = found.get("failures") or self.failures
        none = bool(levels) and not any(level.get("n") for level in levels)
        say(
            f"all {failed} samples failed"
            if none
            else f"{failed} sample{'s' * (failed > 1)} failed; the others are done"
        )
        for name, reason in list(reasons.items())[:20]:
            say(f"failed: {name}: {one_line(reason)}")
        if len(reasons) > 20:
            say(f"failed: and {len(reasons) - 20} more")
        return 3

    def failed_in_fork(self, trainer: Any, error: Exception) -> int:
        for callback in trainer.callbacks:  # as Lightning does in the other processes
            callback.on_exception(trainer, trainer.lightning_module, error)
        return self.failed(error)

    def failed(self, error: BaseException) -> int:
        """Reports one error once, whatever the number of processes."""
        processes.ignore_signals()
        error = root_of(error)
        bad_input = is_bad_input(error, self.started)
        lost = processes.lost_others(error)
        if processes.rank() > 0:
            processes.let_the_first_speak(seconds=5)
        else:
            code = processes.ended_by_another(self.trainer, error)
            processes.end_others(self.trainer)
            if code is not None and code > 0:  # it has said why
                self._abandon()
                return code
            lost = lost or code is not None
            kept = self._kept()
            if lost:
                say(f"{processes.how_it_ended(code)}; {kept}")
        if lost:
            return 1
        if not bad_input or os.environ.get("RPS_DEBUG"):
            print(printable_lines("".join(traceback.format_exception(error))), file=sys.stderr)
        if not bad_input:
            say("the above looks like a bug in rps or in a class that it was given")
            return 1
        say("error: " + sentence(error))
        return int(getattr(error, "exit_code", 2))

    def interrupted(self, interrupt: BaseException) -> int:
        processes.ignore_signals()
        code = interrupt.code if isinstance(interrupt, processes.Terminated) else 130
        if processes.rank() > 0:
            processes.let_the_first_speak(seconds=60)
            return code
        processes.end_others(self.trainer)  # they may not write to a directory that is put back
        lost = isinstance(interrupt, processes.LostProcess)
        say(f"{interrupt if lost else 'interrupted'}; {self._kept()}")
        return 1 if lost else code

    def _kept(self) -> str:
        """What an early end leaves, in words; the run directory is removed when there is nothing in it."""
        # Where Lightning forks its processes, the directory is theirs, and this one has not begun it.
        if self._abandon() or self.directory is None or not os.path.isdir(self.directory.path / "records"):
            return "nothing was done yet, and nothing was kept"
        levels = self.directory.metrics().get("levels", [])
        count = f"{levels[0]['n']} finished samples are" if levels else "what was finished is"
        return f"{count} kept in {self.directory}; the same command resumes from there"

    def _abandon(self) -> bool:
        return self.begun and self.directory is not None and self.directory.abandon(self.created)

    def release(self) -> None:
        if self.lock is not None:
            self.lock.release()


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
            callbacks = [{"class_path": f"rps.callbacks.{name}"} for name in arguments.CALLBACKS]
            parser.set_defaults({"trainer.callbacks": callbacks})

        def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
            try:
                with arguments.bounded_parser():
                    self.config = parser.parse_args(args)
            except ArgumentError as error:
                options = [*parser._option_string_actions, "--output", "--overwrite", "--retry_failed", "--seed"]
                raise InputError(parser_sentence(error, options)) from error

        def _set_seed(self) -> None:
            pass

        def before_instantiate_classes(self) -> None:
            arguments.check_trainer(self.config.trainer)
            run.check_directory(given, self.config, self.parser.dump(self.config, skip_unset=False))

        def instantiate_trainer(self, **kwargs: Any) -> Trainer:
            # The bars are those among the callbacks. Lightning would add one of its own, or refuse ours if it may not.
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


def _paths(value: Any) -> Iterator[str]:
    """Existing files and folders that a config names, anywhere in it, also by patterns; but for where it writes."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in ("default_root_dir", "output"):
                yield from _paths(item)
    elif isinstance(value, list | tuple | Set):
        for item in value:
            yield from _paths(item)
    elif isinstance(value, os.PathLike):  # of an argument typed Path
        yield from _paths(os.fsdecode(value))
    elif isinstance(value, str) and value and "\0" not in value:
        path = os.path.expanduser(value)
        yield from [path] if os.path.lexists(path) else islice(iglob(path, recursive=True), MOST_MATCHES)


def _tell_limit(datamodule: Any) -> None:
    total, used = datamodule.total(), datamodule.num_samples
    if used is not None and total > used:
        say(f"{used} of the {total} pictures were used; --data.limit null uses all")
