"""Silences the messages of libraries, or reduces them to one line; our own output stays."""

from __future__ import annotations

import logging
import sys
import warnings

HUB = "huggingface_hub.utils._http"
"""The logger of the hub's client, which reports every failed attempt twice."""


def quiet() -> None:
    """Silences Lightning's messages on devices, workers and tips, and all but the first of the hub's client."""
    import lightning.pytorch  # configures its loggers, so it must come first  # noqa: F401

    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger(HUB).addFilter(ONCE)
    warnings.filterwarnings("ignore", module=r"lightning\.")
    warnings.filterwarnings("ignore", message="This DataLoader will create")
    warnings.filterwarnings("ignore", message="The `local_dir_use_symlinks` argument")
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(torch|diffusers|datasets|timm)\.")


class Once(logging.Filter):
    """Replaces the messages of the hub's client about its attempts by one line at the first."""

    reported = False

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if "thrown while requesting" not in text and not text.startswith("Retrying in"):
            return True
        if not self.reported:
            print("rps: the Hugging Face hub does not answer; retrying for up to a minute", file=sys.stderr)
        self.reported = True
        return False


ONCE = Once()
"""That of the command, which may run several times in a process."""
