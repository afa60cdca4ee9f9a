"""A Trainer for tests."""

from typing import Any

import lightning as L


def quiet(**options: Any) -> L.Trainer:
    """On the CPU, printing and saving nothing of its own."""
    names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    return L.Trainer(**{"accelerator": "cpu", **dict.fromkeys(names, False), **options})
