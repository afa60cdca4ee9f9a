"""The map of latent transport, fitted to the pictures of a run and used on others."""

import json
import sys
from pathlib import Path

import pytest

from rps.cli import main
from rps.traversals.latent_map import LatentMap

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import fit_transport

pytestmark = pytest.mark.slow
CHEAP = ["predict", "--config", "demo", "--model.estimator", "PseudoInverse", "--data.batch_size", "2"]
MOVED = ["--model.init_args.autoencoder", "rps.priors.EmbeddedLatentPrior", "--model.levels", "[0, 1]"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A file with the map of A^+ y, fitted on images 2 to 5."""
    folder = tmp_path_factory.mktemp("fit")
    options = ["--model.t0", "0", "--data.skip", "2", "--data.limit", "4", "--output", str(folder / "run")]
    assert main([*CHEAP, *options]) == 0
    fit_transport.main([str(folder / "run"), "--output", str(folder / "map.safetensors")])
    return folder


def move(fitted: Path, run: Path, *options: str) -> int:
    model = ["--model", "modules.LatentTransport", "--model.transport", str(fitted / "map.safetensors")]
    return main([*CHEAP, *model, *MOVED, *options, "--output", str(run)])


def test_a_map_of_a_run_moves_other_images_of_the_same_kind(fitted, tmp_path):
    assert len(LatentMap.load(str(fitted / "map.safetensors")).ids) == 4
    assert move(fitted, tmp_path, "--data.limit", "2") == 0
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert [level["decoder_calls_per_image"] for level in found["levels"]] == [0, 2]
    assert len(list((tmp_path / "images" / "1").glob("*.png"))) == 2


def test_images_that_it_was_fitted_on_are_refused_in_a_sentence(fitted, tmp_path, capsys):
    assert move(fitted, tmp_path / "run", "--data.skip", "4", "--data.limit", "2") == 2
    assert "the transport was fitted on" in capsys.readouterr().err


def test_what_cannot_be_fitted_is_refused_in_a_sentence(fitted, tmp_path, capsys):
    for arguments in ([str(tmp_path)], [str(fitted / "run"), "--level", "7"], [str(fitted / "run"), "--patch", "3"]):
        with pytest.raises(SystemExit) as stop:
            fit_transport.main([*arguments, "--output", str(tmp_path / "map")])
        assert stop.value.code == 2
        assert len(capsys.readouterr().err.splitlines()[-1]) > 40
    assert not (tmp_path / "map").exists()
