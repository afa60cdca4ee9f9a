"""A class that takes the place of another begins with its own defaults."""

import inspect
import json

import pytest
import yaml

from rps.cli import main
from rps.cli.replaced import write_defaults
from rps.estimators import RedDiff
from rps.samplers import Daps

DAPS = {name: p.default for name, p in inspect.signature(Daps).parameters.items()}


def model(capsys, *arguments: str) -> dict:
    assert main(["predict", *arguments, "--print_config"]) == 0, capsys.readouterr().err
    return yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]


@pytest.mark.parametrize("name", ["rps.samplers.Daps", "Daps"])
@pytest.mark.parametrize("between", [" ", "="])
def test_by_a_flag(capsys, name, between):
    given = model(capsys, "--config", "demo", *f"--model.sampler{between}{name}".split(" "))
    assert given["sampler"]["init_args"] == DAPS
    assert DAPS["step_size"] != 1.0  # which DPS has in demo


def test_by_a_flag_without_configs(capsys):
    base = ["--model", "modules.MapRps", "--model.prior", "EmbeddedPrior", "--model.operator", "Denoise"]
    given = model(capsys, *base, "--model.noise", "0.1", "--model.sampler", "Daps", "--data", "Embedded")
    assert given["sampler"]["init_args"] == DAPS


def test_values_after_it_are_its_own(capsys):
    given = model(capsys, "--config", "demo", "--model.sampler", "Daps", "--model.sampler.tau", "0.5")
    assert given["sampler"]["init_args"] == {**DAPS, "tau": 0.5}


@pytest.mark.parametrize("flag", ["step_size null", "step_size=null", "init_args.step_size ~"])
def test_a_setting_of_a_class_may_be_null(capsys, flag):
    """The parser by itself takes it for the text "None"."""
    given = model(capsys, "--config", "demo", *f"--model.sampler.{flag}".split(" "), "--model.steps", "7")
    assert given["sampler"]["init_args"]["step_size"] is None and given["sampler"]["init_args"]["per_timestep"] is True
    assert given["steps"] == 7


def test_by_a_later_config(capsys, tmp_path):
    (tmp_path / "own.yaml").write_text("model: {init_args: {estimator: {class_path: rps.estimators.RedDiff}}}")
    given = model(capsys, "--config", "demo", "--config", str(tmp_path / "own.yaml"))
    assert given["estimator"]["init_args"]["lr"] == inspect.signature(RedDiff).parameters["lr"].default != 0.1


def test_the_same_class_again_keeps_what_was_given(capsys, tmp_path):
    (tmp_path / "own.yaml").write_text("model: {init_args: {estimator: {class_path: rps.estimators.MapEstimator}}}")
    options = "{class_path: rps.estimators.MapEstimator, init_args: {num_steps: 200, lr: 0.3}}"
    (tmp_path / "first.yaml").write_text(f"model: {{init_args: {{estimator: {options}}}}}")
    files = ["--config", str(tmp_path / "first.yaml"), "--config", str(tmp_path / "own.yaml")]
    given = model(capsys, "--config", "demo", *files)
    assert given["estimator"]["init_args"]["num_steps"] == 200 and given["estimator"]["init_args"]["lr"] == 0.3


def test_values_may_come_before_the_first_name_of_their_class():
    task = {"model": {"init_args": {"estimator": {"init_args": {"t1": 50}}}}}
    method = {"model": {"init_args": {"estimator": {"class_path": "rps.estimators.MapEstimator"}}}}
    first, second = write_defaults([task, method], [])[0]
    assert first == task
    assert "t1" not in second["model"]["init_args"]["estimator"]["init_args"]


def test_text_that_is_no_class_is_left_alone():
    flags = ["--data.folder", "my photos", "--model.t0", "[0, 5]", "--data.limit=3", "--trainer.devices", "2"]
    assert write_defaults([{"data": {"class_path": "datamodules.Embedded"}}], flags)[1] == flags


def test_text_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "weights.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    flags = ["--model.prior.path", "weights.pt", "--model.prior.path=weights.pt"]
    flags += ["--data.folder", "Inpaint", "--data.folder", "rps.operators.Inpaint"]
    config = {"model": {"init_args": {"prior": {"class_path": "rps.priors.EmbeddedPrior"}, "path": "weights.pt"}}}
    found, kept = write_defaults([config], flags)
    assert kept == flags and found[0]["model"]["init_args"]["path"] == "weights.pt"


@pytest.mark.parametrize("value", ["Daps", "rps.samplers.Daps", "{class_path: Daps}"])
def test_by_a_later_config_in_every_form(capsys, tmp_path, value):
    (tmp_path / "own.yaml").write_text(f"model: {{init_args: {{sampler: {value}}}}}")
    given = model(capsys, "--config", "demo", "--config", str(tmp_path / "own.yaml"))
    assert given["sampler"]["init_args"] == DAPS


@pytest.mark.parametrize("between", [" ", "="])
def test_by_class_path_and_its_arguments(capsys, between):
    flags = f"--model.sampler.class_path{between}Daps".split(" ")
    given = model(capsys, "--config", "demo", *flags, "--model.sampler.init_args.tau", "0.5")
    assert given["sampler"]["init_args"] == {**DAPS, "tau": 0.5}


def test_a_class_of_the_users_is_another_though_its_name_is_the_same(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("class Daps:\n    def __init__(self, tau: float = 7.0): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    ours = {"model": {"init_args": {"sampler": {"class_path": "rps.samplers.Daps", "init_args": {"step_size": 2.0}}}}}
    theirs = {"model": {"init_args": {"sampler": {"class_path": "mine.Daps"}}}}
    first, second = write_defaults([ours, theirs], [])[0]
    assert first["model"]["init_args"]["sampler"] == {"class_path": "rps.samplers.Daps"}
    assert second["model"]["init_args"]["sampler"]["init_args"] == {"tau": 7.0}


def test_inside_a_flag(capsys):
    inner = '{"class_path": "StepNumber", "init_args": {"sampler": "Daps"}}'
    flags = write_defaults([{"model": {"init_args": {"traversal": {"init_args": {}}}}}], ["--model.traversal", inner])[
        1
    ]
    assert yaml.safe_load(flags[1])["init_args"]["sampler"]["init_args"] == DAPS


def test_inside_a_flag_for_the_whole_model(capsys):
    whole = (
        '{"class_path": "PosteriorSampling", "init_args": {"sampler": {"class_path": "Daps", "init_args": {"tau": 7}}}}'
    )
    assert model(capsys, "--config", "demo", "--model", whole)["sampler"]["init_args"] == DAPS | {"tau": 7.0}


def test_text_is_not_imported_where_the_type_is_text(tmp_path, monkeypatch):
    """Though the last key is one that names a class in the models of ours."""
    (tmp_path / "weights.py").write_text("raise SystemExit('imported')")
    (tmp_path / "my_model.py").write_text(
        "class Model:\n    def __init__(self, prior: str, sampler: str | None = None): ..."
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = {"prior": "weights.pt", "sampler": "weights.pt"}
    contents = [{"model": {"class_path": "my_model.Model", "init_args": given}, "data": {"init_args": given}}]
    flags = ["--model.prior", "weights.pt", "--data.sampler=weights.pt"]
    assert write_defaults(contents, flags) == (contents, flags)
    assert write_defaults([], ["--model", "my_model.Model", *flags])[1] == ["--model", "my_model.Model", *flags]


@pytest.mark.parametrize(
    "kind", ["dict", "dict[str, str] | None", "Mapping[str, Any]", "Sequence[str] | dict[str, list[str]] | None", "str"]
)
def test_mappings_are_not_imported_where_the_type_is_no_class(kind, tmp_path, monkeypatch):
    """A class_path among the data of a user is data; also before the class of the section is named."""
    (tmp_path / "boom.py").write_text("raise SystemExit('imported')")
    (tmp_path / "my_data.py").write_text(
        "from __future__ import annotations\nfrom collections.abc import Mapping, Sequence\nfrom typing import Any\n"
        f"class Data:\n    def __init__(self, data_files: {kind}): ..."
    )
    monkeypatch.syspath_prepend(tmp_path)
    inner = {"class_path": "boom.X", "init_args": {"a": 1}}
    deep = {} if "Any" in kind else {"train": inner}
    for given in (inner, deep):
        early, late = {"data": {"init_args": {"data_files": given}}}, {"data": {"class_path": "my_data.Data"}}
        flags = ["--data.data_files", json.dumps(given)]
        for contents in ([early], [early, late], [late, early], [{"data": {**late["data"], **early["data"]}}]):
            assert write_defaults(contents, flags) == (contents, flags)
        assert write_defaults([], ["--data", "my_data.Data", *flags])[1][2:] == flags


@pytest.mark.parametrize("kind", ["Part", "Part | None", "dict | Part", "Any", "'Unknown'", "dict[str, Part]"])
def test_mappings_are_classes_where_the_type_may_be_one(kind, tmp_path, monkeypatch):
    name = "module_" + "".join(filter(str.isalnum, kind))
    (tmp_path / f"{name}.py").write_text(
        f"from typing import Any\nclass Part:\n    def __init__(self, a: int = 7): ...\n"
        f"class Data:\n    def __init__(self, part: {kind}): ..."
    )
    monkeypatch.syspath_prepend(tmp_path)
    given = {"class_path": f"{name}.Part"}
    inside = {"x": given} if kind.startswith("dict[str, Part") else given
    found = write_defaults([{"data": {"class_path": f"{name}.Data", "init_args": {"part": inside}}}], [])[0][0]
    part = found["data"]["init_args"]["part"]
    assert part.get("x", part)["init_args"] == {"a": 7}
