"""What all tests share."""

import os
import signal
from pathlib import Path

import pytest

# Two cores: more threads than that only wait for each other. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "2")
# No test may need a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

# A shell starts background jobs with SIGINT ignored, and what they start inherits that: the tests of Ctrl-C need it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A working directory with the fake.yaml of tests/cli_fakes.py in it."""
    from tests.cli_fakes import CONFIG

    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake.yaml").write_text(CONFIG)
    return tmp_path
