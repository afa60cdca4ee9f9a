"""The searches of tools/settings.yaml, and what is written of them."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

import rps.traversals
from rps.tuning import read_space

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import settings  # noqa: E402

CONTENT, METHODS = settings.read(ROOT / "tools" / "settings.yaml")
GENERATED = sorted(path for family in CONTENT["families"] for path in (settings.CONFIGS / family).glob("*/*.yaml"))


def built(value):
    """The objects that a config names, without a parser."""
    if isinstance(value, dict) and "class_path" in value:
        room, _, name = value["class_path"].rpartition(".")
        kind = getattr(rps.traversals if room == "modules" else import_module(room), name)
        return kind(**{key: built(item) for key, item in value.get("init_args", {}).items()})
    return value


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.place)
def test_the_search_starts_in_its_space_with_a_model_that_can_be_built(method):
    space = read_space([f"{option}={settings.values_of(values)}" for option, values in method.over.items()])
    for option, values in space.items():
        assert (start := settings.at(method.model, option)) is None or start in values  # None is derived
    assert len(space) <= 3 and not (method.levels and len(space) > 1)
    built(method.model)


def test_every_method_has_a_config():
    assert {method.config for method in METHODS} <= set(GENERATED)
    assert len({method.config for method in METHODS}) == len(METHODS) > 100


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: "/".join(path.parts[-3:]))
def test_configs_can_be_built(path):
    model = yaml.safe_load(path.read_text())["model"]
    if hasattr(rps.traversals, model["class_path"].rpartition(".")[2]):
        built(model)


def test_no_evaluated_picture_is_searched_on():
    first, count = (CONTENT["set"][f"data.{name}"] for name in ("skip", "limit"))
    assert (first, first + count - 1) == (500, 531)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "CONFIGS", tmp_path / "configs")
    written = {}
    monkeypatch.setattr(settings, "write_part", lambda page, name, text: written.update({name: text}))
    return tmp_path, written


def finish(
    method: settings.Method,
    folder: Path,
    state: str = "complete",
    count: int = 20,
    later: float | None = None,
    over: dict | None = None,
    **values,
):
    """Writes what `rps tune` ends with.  later: a better value, of a trial beyond those that count."""
    folder.mkdir(parents=True)
    chosen = {f"model.{name}": value for name, value in values.items()}
    trials = [{"number": k, "state": state, "settings": chosen} for k in range(1, count + 1)]  # one was interrupted
    if later is not None:
        trials.insert(0, {"number": count + 1, "state": state, "settings": dict.fromkeys(chosen, later)})
    (folder / "trials.json").write_text(json.dumps({"over": over or named(method), "trials": trials}))


def named(method: settings.Method) -> dict[str, str]:
    return {option: settings.values_of(values) for option, values in method.over.items()}


def method_of(name: str) -> settings.Method:
    return next(method for method in METHODS if method.place == name)


def test_the_best_trials_are_written(place):
    output, written = place
    one, levels, other = map(method_of, ("solvers/sr4/sitcom", "peers/sr4/vsdps", "solvers/sr4/dps"))
    finish(one, output / one.place, later=9.0, **{"sampler.lr": 0.123456, "sampler.lam": 2.0})
    for level in ("1", "0.8", "0.5", "0.3"):
        finish(levels, output / levels.place / level, step_size=float(level) * 10)
    failed = method_of("solvers/sr4/ddnm")
    finish(failed, output / failed.place, "failed", **{"sampler.eta": 0.5, "sampler.clip": True})
    few = method_of("solvers/sr4/dmps")
    finish(few, output / few.place, count=19, **{"sampler.scale": 0.5, "sampler.eta": 0.5})
    elsewhere = method_of("solvers/sr4/pigdm")
    option = "model.sampler.prior_variance"
    found = {"sampler.prior_variance": 0.5, "sampler.update": "posterior"}
    finish(elsewhere, output / elsewhere.place, over=named(elsewhere) | {option: "0.5:0.6"}, **found)
    settings.write(METHODS, CONTENT, output)
    assert settings.START in elsewhere.config.read_text()
    assert settings.START in failed.config.read_text() and settings.START in few.config.read_text()
    model = yaml.safe_load(one.config.read_text())["model"]
    assert model["init_args"]["sampler"]["init_args"] == {"inner_steps": 4, "lr": 0.123, "lam": 2.0}
    assert "the best of 20 trials" in one.config.read_text()
    assert settings.START in levels.config.read_text() and settings.START in other.config.read_text()

    finish(levels, output / levels.place / "0", step_size=0.5)
    other.config.write_text("model: {}\n")  # chosen otherwise: not overwritten without a search
    settings.write(METHODS, CONTENT, output)
    model = yaml.safe_load(levels.config.read_text())["model"]
    assert model["init_args"] == {"levels": [1.0, 0.8, 0.5, 0.3, 0.0], "step_size": [10, 8, 5, 3, 0.5], "steps": 25}
    assert other.config.read_text() == "model: {}\n"
    assert (
        "| sitcom | lr 0.003:1:log, lam 0.001:3:log | 0.1, 0.3 | not run | not run | lr 0.123, lam 2 |"
        in written["settings"]
    )


def test_the_command_of_a_search(tmp_path):
    commands = list(
        settings.commands(method_of("peers/sr4/vsdps"), CONTENT, tmp_path, ["--trainer.accelerator", "gpu"])
    )
    assert len(commands) == 5 and len({command[command.index("--output") + 1] for command in commands}) == 5
    start = yaml.safe_load(Path(commands[1][commands[1].index("embedded/sr4") + 2]).read_text())
    assert start["model"]["init_args"]["levels"] == [0.8]
    assert commands[0][-2:] == ["--trainer.accelerator", "gpu"] and "--no_pruning" in commands[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--processes", "0"], "--processes must be at least 1, got 0"),
        (["--only", "nonsense"], "--only nonsense: the name of no search begins so; the families are "),
        (
            ["--only", "latent", "solvers/sr4/dsp"],
            "--only solvers/sr4/dsp: the name of no search begins so; did you mean",
        ),
        (["--wirte"], "--wirte is not an option of tools/settings.py; did you mean --write?"),
        (["latent/sr4"], "latent/sr4 is not an option of tools/settings.py"),
    ],
)
def test_bad_options_are_one_sentence_and_search_nothing(given, expected, place, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["settings.py", "--output", str(place[0] / "out"), *given])
    with pytest.raises(SystemExit) as ended:
        settings.main()
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.startswith(f"error: {expected}") and err.count("\n") == 1
    assert not (place[0] / "out").exists()


def test_options_of_rps_tune_are_passed_on():
    settings.check_passed(["--trainer.accelerator", "gpu", "--model.micro_batch=4", "--tau=1"], "settings", ["--tau"])
