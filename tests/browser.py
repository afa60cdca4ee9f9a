"""Headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """A window of 1280 x 1000 pixels with one page.

        with Browser(tmp_path) as browser:
            browser.open("http://127.0.0.1:7860")
            browser.run("document.title")

    requests: the addresses of all that the page has asked for.
    """

    def __init__(self, profile: Path, size: tuple[int, int] = (1280, 1000)) -> None:
        command = [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--disable-background-networking", f"--window-size={size[0]},{size[1]}", "--remote-debugging-port=0",
            "--force-device-scale-factor=1", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        found = next(filter(None, (re.search(r"ws://([^/]+)/", text) for text in self.process.stderr)))
        self.loop, self.number, self.requests = asyncio.new_event_loop(), 0, list[str]()
        self._wait(self._connect(found[1]))
        for domain in ("Page", "DOM", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *error: object) -> None:
        self._wait(self.session.close())
        self.process.terminate()
        self.process.wait()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a method of the protocol."""
        return self._wait(self._send(method, parameters))

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression, or of the promise that it gives."""
        result = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script: str, seconds: float = 60) -> Any:
        """The value of an expression once it is true."""
        waits = f"""new Promise((good, bad) => {{
            const end = Date.now() + {1000 * seconds};
            const look = () => {{
                const value = {script};
                value ? good(value) : Date.now() > end ? bad("never") : setTimeout(look, 50);
            }};
            look();
        }})"""
        return self.run(waits)

    def pause(self, seconds: float) -> None:
        self.run(f"new Promise(done => setTimeout(done, {1000 * seconds}))")

    def choose_file(self, selector: str, path: Path) -> None:
        """Gives a file to an <input type=file>."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def drag(self, *points: tuple[float, float]) -> None:
        """Moves the mouse over these points with its button pressed."""
        for i, (x, y) in enumerate([*points, points[-1]]):
            kind = "mousePressed" if i == 0 else "mouseReleased" if i == len(points) else "mouseMoved"
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def _wait(self, task: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(task)

    async def _connect(self, host: str) -> None:
        self.session = aiohttp.ClientSession()
        async with self.session.get(f"http://{host}/json") as answer:
            page = next(target for target in await answer.json() if target["type"] == "page")
        self.socket = await self.session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)

    async def _send(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while True:
            message = await self.socket.receive_json()
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("id") == self.number:
                assert "result" in message, message
                return message["result"]
