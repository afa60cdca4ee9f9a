"""rps predict: how a run can end, and what is reported in each case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rps.bounded_yaml import load_yaml
from rps.cli import arguments, processes, signals
from rps.cli.callbacks import OPTION
from rps.cli.choices import choices
from rps.cli.errors import InputError, one_line, report
from rps.cli.flags import read_flags
from rps.cli.help import show_help
from rps.cli.quiet import quiet
from rps.cli.stage1 import store_stage1
from rps.cli.streams import say, show, show_written

if TYPE_CHECKING:
    from rps.cli.processes import Children
    from rps.records.session import Session


def run_predict(argv: Sequence[str], brief: bool = False) -> int:
    """Runs `rps predict`.  argv: the arguments after it. brief: whether to leave out the table and the list of files at
    the end.  -> the exit code; see rps.cli.HELP."""
    return to_its_end(Run(argv, brief))


def to_its_end(run: Run) -> int:
    """Runs a command in a predict loop, and reports how it ends.  -> the exit code."""
    with processes.tidy():
        try:
            code = run.main()
            signals.ignore()
            return code
        except KeyboardInterrupt as interrupt:
            return run.interrupted(interrupt)
        except SystemExit as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):  # this is how Lightning ends an interrupted run
                return run.interrupted(stop.__context__)
            if run.session is not None and stop.code in (None, 0):
                return run.failed(RuntimeError("the run was ended by sys.exit in a class that it was given"))
            if stop.code is None or isinstance(stop.code, int):  # --print_config and --model.help end here
                return int(stop.code or 0)
            say(f"error: {one_line(stop.code)}")
            return 1
        except BaseException as error:
            return run.failed(error)
        finally:
            if run.session is not None:
                run.session.lock.release()


class Run:
    """One call of `rps predict`, which can end in four ways: done, failed, interrupted, or never begun."""

    def __init__(self, argv: Sequence[str], brief: bool = False) -> None:
        self.argv, self.brief = list(argv), brief
        self.session: Session | None = None
        self.children: Children | None = None
        self.config: dict[str, Any] = {}  # as parsed
        self.started = False  # whether the first batch has started
        self.restored = False  # whether a batch had samples
        self.failures: dict[str, str] = {}

    def main(self) -> int:
        given = self.read()  # before the heavy imports, so that a mistake here is reported at once
        quiet()
        if given.help:
            show_help(*given.help)
        from rps.cli.loop import Keeper, RunCli

        cli = RunCli(given, self.open)
        trainer: Any = cli.trainer
        self.children = processes.Children(trainer.strategy)
        self.prepare(given, cli)
        trainer.callbacks.insert(0, Keeper(self, trainer.loggers))
        trainer.loggers = []
        signals.heed()
        trainer.predict(cli.model, datamodule=cli.datamodule, return_predictions=False)
        if processes.rank() > 0:
            return 0
        total, used = (cli.datamodule.total(), cli.datamodule.num_samples) if given.own_pictures else (None, None)
        if total is not None and used is not None and total > used and cli.datamodule.subset is None:
            say(f"{used} of the {total} pictures were used; --data.limit null uses all")
        return self.done()

    def read(self) -> arguments.Arguments:
        """The arguments.  Errors: InputError."""
        return arguments.read(self.argv)

    def prepare(self, given: arguments.Arguments, cli: Any) -> None:
        """Changes the objects that were built, before they run."""
        if given.stage1 is not None and (reason := store_stage1(cli.model, self.config, given.stage1)):
            say(f"--stage1 has no effect: {reason}")
        for callback in cli.trainer.callbacks:
            if given.retry_failed and hasattr(callback, "retry_failed"):
                callback.retry_failed = True
        if processes.rank() == 0:
            self._warn(cli.trainer)

    def _warn(self, trainer: Any) -> None:
        """Says before the run if its own list of callbacks records nothing."""
        from rps.callbacks import ImageWriter, MetricRecorder

        replaced = any(".".join(place) == OPTION for _, place, _ in read_flags(self.argv))
        kinds = {"metrics": MetricRecorder, "pictures": ImageWriter}
        lacking = [what for what, kind in kinds.items() if not any(isinstance(c, kind) for c in trainer.callbacks)]
        if "metrics" in lacking and (replaced or not self.config["trainer"]["callbacks"]):
            say(
                f"no {' and no '.join(lacking)} will be saved: --{OPTION} replaces the list of callbacks; "
                f"--{OPTION}+=CLASS adds to it"
            )

    def check(self) -> dict[str, Any]:
        """Parses the arguments and checks the output, and builds nothing.  -> the whole config."""
        given = self.read()
        from rps.cli.loop import ConfigCli

        ConfigCli(given, self.open)
        return self.config

    def open(self, given: arguments.Arguments, config: Any, dumped: str) -> None:
        """Checks the output between parsing and building, so that an unusable one is reported first."""
        where = config.trainer.default_root_dir
        if not where:
            raise InputError("there is no --output; give the folder to write to, e.g. --output runs/demo")

        from rps.records import Session, paths_in

        parsed = config.as_dict()  # also has the --config files, which may lie in the run directory: left out
        inputs = list(paths_in({section: parsed.get(section) for section in arguments.SECTIONS}))
        self.config = load_yaml(dumped)
        self.session = Session(str(where), dumped, self.argv, given.overwrite, inputs, choices(self.config))
        if processes.rank() == 0:
            self.session.check()

    def done(self) -> int:
        assert self.session is not None
        directory = self.session.directory
        directory.check_there()
        table = directory.path / "table.md"
        if table.is_file() and not self.brief:
            show("\n" + table.read_text(encoding="utf-8").strip())
        troubles = self.session.troubles(self.failures, self.restored)
        if directory.put_back():
            say(f"nothing was restored, so the earlier run in {directory} was put back")
        elif not self.brief:
            show_written(directory.written(self.session.since))
        for trouble in troubles:
            say(trouble)
        return 3 if troubles else 0

    def failed(self, error: BaseException) -> int:
        """Reports one error once, whatever the number of processes.  -> exit code."""
        signals.ignore()
        if processes.rank() > 0:
            processes.wait_for_first(3)
        elif code := self._end_children(patience=2):
            if 0 < code < 128:  # it has reported the reason
                self._kept()
                return code
            ended = f"was killed (signal {-code})" if code < 0 else f"ended with code {code}"
            say(f"another process of the run {ended}; {self._kept()}")
            return 1
        return report(error, self.started, self._kept(), self.config)

    def interrupted(self, interrupt: BaseException) -> int:
        signals.ignore()
        code = next((code for code in interrupt.args if isinstance(code, int)), 130)
        if processes.rank() > 0:
            if processes.started_by_first():
                processes.wait_for_first(10)
            return code
        self._end_children(patience=0)  # they must not write to a directory that is being put back
        say(f"interrupted; {self._kept()}")
        return code

    def _end_children(self, patience: float) -> int:
        return 0 if self.children is None else self.children.end(patience)

    def _kept(self) -> str:
        return "nothing was done yet, and nothing was kept" if self.session is None else self.session.kept()
