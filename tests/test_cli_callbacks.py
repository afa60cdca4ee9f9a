"""Options of callbacks by the names of their classes, beside --metric and the list itself."""

import json

import pytest
import yaml

from rps.cli import main
from rps.cli.callbacks import configure

LISTED = [{"trainer": {"callbacks": ["ImageWriter", {"class_path": "rps.callbacks.GridWriter"}]}}]


def callbacks(contents, *flags: str, metrics=()) -> list[tuple[str, dict]]:
    found, rest = configure(contents, metrics, [*flags, "--model.t0", "[0]"])
    assert rest == ["--model.t0", "[0]"]
    return [(node["class_path"].rpartition(".")[2], node.get("init_args", {})) for node in found]


@pytest.mark.parametrize("name", ["GridWriter", "gridwriter", "GridWriter.init_args"])
@pytest.mark.parametrize("between", [" ", "="])
def test_an_option_by_name_wherever_the_callback_stands(name, between):
    flags = f"--trainer.callbacks.{name}.max_grids{between}4".split(" ")
    assert callbacks(LISTED, *flags) == [("ImageWriter", {}), ("GridWriter", {"max_grids": 4})]
    assert ("GridWriter", {"max_grids": 4}) in callbacks([], *flags), "among the default ones"
    assert callbacks([], "--trainer.callbacks", "[gridwriter]", *flags) == [("GridWriter", {"max_grids": 4})]
    assert callbacks([], *flags, "--trainer.callbacks", "[gridwriter]") == [("GridWriter", {"max_grids": 4})]
    added = callbacks(LISTED, "--trainer.callbacks+=MetricRecorder", *flags)
    assert added[1:] == [("GridWriter", {"max_grids": 4}), ("MetricRecorder", {})]


def test_configs_are_left_as_they_are():
    contents = [{"trainer": {"callbacks": [{"class_path": "GridWriter", "init_args": {"max_samples": 2}}]}}]
    before = json.dumps(contents)
    given = callbacks(contents, "--trainer.callbacks.GridWriter.max_grids", "4")
    assert given == [("GridWriter", {"max_samples": 2, "max_grids": 4})] and json.dumps(contents) == before


def test_an_option_of_what_an_option_holds():
    recorder = {"class_path": "MetricRecorder", "init_args": {"features": "InceptionFeatures"}}
    given = callbacks([{"trainer": {"callbacks": [recorder]}}], "--trainer.callbacks.MetricRecorder.features.weights=w")
    assert given == [
        ("MetricRecorder", {"features": {"class_path": "InceptionFeatures", "init_args": {"weights": "w"}}})
    ]


def test_metrics_join_the_list_of_the_flags():
    """Also that of --trainer.callbacks, and after an option by name."""
    flags = ["--trainer.callbacks", "[GridWriter, MetricRecorder]", "--trainer.callbacks.MetricRecorder.metrics", "[A]"]
    assert callbacks(LISTED, *flags, metrics=[{"class_path": "B"}])[1] == (
        "MetricRecorder",
        {"metrics": ["A", {"class_path": "B"}]},
    )


def test_without_a_name_or_a_metric_the_parser_reads_the_flags():
    flags = ["--trainer.callbacks+=GridWriter", "--trainer.devices", "2"]
    assert configure(LISTED, [], flags) == (None, flags)


def test_the_whole_command(capsys):
    """Texts become the classes that the options take."""
    options = ["--trainer.callbacks.metricrecorder.reference", "null", "--metric", "lpips"]
    options += ["--trainer.callbacks.MetricRecorder.features", "TimmFeatures"]
    options += ["--trainer.callbacks.MetricRecorder.features.model", "resnet18"]
    assert main(["predict", "--config", "demo", *options, "--print_config"]) == 0, capsys.readouterr().err
    (recorder, *_) = yaml.safe_load(capsys.readouterr().out)["trainer"]["callbacks"]
    given = recorder["init_args"]
    assert given["reference"] is None and given["features"]["class_path"].endswith("TimmFeatures")
    assert given["features"]["init_args"]["model"] == "resnet18"
    assert [metric["class_path"] for metric in given["metrics"]] == ["rps.metrics.Lpips"]
