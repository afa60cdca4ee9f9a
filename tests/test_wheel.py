"""The wheel alone, away from the checkout, runs a packaged config: nothing that a run needs was left out of it."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    program = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"  # what pip calls
    subprocess.run([sys.executable, "-c", program, str(target)], check=True, cwd=ROOT, timeout=240)
    return next(target.glob("*.whl"))


def test_wheel_runs_a_packaged_config_in_an_empty_folder(wheel, tmp_path):
    """Unpacked before the installed packages on the path, in a working directory that holds nothing else."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # -S and an explicit path: an editable install of the checkout must not be found.
    dependencies = sysconfig.get_paths()["purelib"]
    program = (
        "import rps, modules, datamodules, configs; from rps.cli import main; "
        f"assert all(m.__file__.startswith(r'{site}') for m in (rps, modules, datamodules, configs)); "
        "raise SystemExit(main(['predict', '--config', 'demo', '--data.limit', '2', '--model.t0', '[0,50]', "
        "'--model.estimator.num_steps', '2', '--trainer.accelerator', 'cpu', '--output', 'run']))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), dependencies])}
    subprocess.run([sys.executable, "-S", "-c", program], check=True, cwd=work, env=environment, timeout=240)
    assert json.loads((work / "run" / "metrics.json").read_text())["levels"][0]["n"] == 2
