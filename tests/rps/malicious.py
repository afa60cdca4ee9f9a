"""A pickle that runs code."""

import os
from pathlib import Path


class Malicious:
    """Unpickled by an ordinary loader, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)
