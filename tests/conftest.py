"""What all tests share."""

import gc
import os
import signal
from importlib import import_module
from pathlib import Path

import pytest

# Tensors are small, and pytest-xdist has a process for each core. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may need a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

# A shell starts background jobs with SIGINT ignored, and what they start inherits that: the tests of Ctrl-C need it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SLOW = {
    "test_any_size.py",
    "test_broken_folder.py", "test_cli.py", "test_cli_study.py", "test_cli_tune.py", "test_configs.py",
    "test_docs.py", "test_end_to_end.py", "test_evaluate.py", "test_extend.py", "test_latent_checkpoints.py",
    "test_merge.py", "test_pixel_checkpoints.py", "test_processes.py", "test_recipes.py", "test_recorder.py",
    "test_resume.py", "test_streams.py", "test_train_generator.py", "test_train_latent.py", "test_train_prior.py",
    "test_wheel.py",
}  # fmt: skip
"""Files that run the whole command again and again, or train; single tests elsewhere are marked where they stand."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Torch and its friends are a million objects, which no collection of garbage needs to look at again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working directory with the fake.yaml of tests/cli_fakes.py in it."""
    from tests.cli_fakes import CONFIG

    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake.yaml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def no_curve(monkeypatch) -> None:
    """Runs whose curve is not looked at: drawing it takes a quarter of a small run. An empty file in its place."""
    module = import_module("rps.report.finish")
    monkeypatch.setattr(module, "dp_curve_plot", lambda summary, path, guides: path.touch())
