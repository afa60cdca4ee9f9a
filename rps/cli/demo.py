"""rps demo: a page on this machine on which one restores a picture."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rps.cli import signals
from rps.cli.errors import InputError, SentenceParser, report
from rps.cli.streams import say, show

HELP = """\
usage: rps demo [--port N] [--largest PIXELS] [--max_file MB] [--prior FOLDER_OR_ID] [--open]

Open a page on this machine: drop a picture on it, paint over what is missing, say what happened to it, and watch its
restorations appear at one t0 after the other. Needs gradio: pip install '.[demo]'.

options:
  --port N              default 7860; 0 takes any free port
  --largest PIXELS      largest height and width of a restoration; larger pictures are reduced first; default 512
  --max_file MB         largest file that can be dropped; default 20
  --prior FOLDER_OR_ID  one more prior to choose on the page: a diffusers model, as for DiffusersPrior
  --open                open the page in the browser

Only this machine can reach the page (127.0.0.1). Nothing is sent anywhere, and pictures are removed when the command
ends, by Ctrl-C. One restoration runs at a time.

exit codes: 0 ended by Ctrl-C; 2 invalid input.
"""


def run_demo(argv: Sequence[str]) -> int:
    """Serves the page until it is interrupted.  argv: the arguments after `rps demo`.  -> exit code."""
    try:
        given = _read(argv)
        if find_spec("gradio") is None:
            raise InputError("rps demo needs the package gradio, which is not installed; pip install 'gradio>=6'")
        with tempfile.TemporaryDirectory(prefix="rps-demo-") as folder:
            os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(Path(folder) / "uploads")}
            signals.heed()
            return _serve(given, Path(folder))
    except KeyboardInterrupt:
        say("stopped; the pictures of the page were removed")
        return 0
    except Exception as error:
        return report(error, False, "nothing was written")


def _serve(given: Any, folder: Path) -> int:
    from rps.cli.demo_job import Demo
    from rps.cli.demo_page import THEME, build

    demo = Demo(_priors(given.prior), folder, given.largest)
    page = build(demo).queue(default_concurrency_limit=1, max_size=2, api_open=False)
    _, url, _ = page.launch(
        server_name="127.0.0.1", server_port=given.port or None, share=False, inbrowser=given.open, quiet=True,
        prevent_thread_lock=True, max_file_size=f"{given.max_file}mb", footer_links=[], ssr_mode=False, pwa=False,
        mcp_server=False, enable_monitoring=False, theme=THEME,
    )  # fmt: skip
    show(f"The page is at {url} (Ctrl-C ends it)")
    try:
        threading.Event().wait()
        return 0
    finally:
        demo.stopped.set()
        page.close(verbose=False)


def _priors(path: str | None) -> dict[str, Callable[[], Any]]:
    """Name -> how to load it, for pictures of any size."""
    import rps

    priors: dict[str, Callable[[], Any]] = {
        "Photographs, in colour": lambda: rps.TiledPrior(rps.PhotoPrior()),
        "Clothes, grey (Fashion-MNIST)": lambda: rps.TiledPrior(rps.EmbeddedPrior()),
    }
    return priors | ({path: lambda: rps.TiledPrior(rps.DiffusersPrior.from_pretrained(path))} if path else {})


def _read(argv: Sequence[str]) -> Any:
    parser = SentenceParser("rps demo", "options only")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--largest", type=int, default=512)
    parser.add_argument("--max_file", type=int, default=20)
    parser.add_argument("--prior")
    parser.add_argument("--open", action="store_true")
    given = parser.parse_args(list(argv))
    for name, least in (("port", 0), ("largest", 8), ("max_file", 1)):
        if getattr(given, name) < least:
            raise InputError(f"--{name} must be at least {least}, got {getattr(given, name)}")
    return given
