"""A headless Chromium that tests drive over its own protocol (DevTools, through a pipe): no driver,
no network.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

#: What the browser is called, and what it needs to run anywhere: by root, without a display, in
#: little memory.
NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip

#: The protocol asks for the descriptors 3 and 4: a process between puts them there, out of each
#: other's way.
LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for place, end in enumerate(ends, start=3):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


def found() -> str | None:
    """Return the browser's path; None where none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page. `problems` are errors of the console, exceptions, and refusals by the page's own
    policy.
    """

    def __init__(self, write: int, read: int) -> None:
        self._out = os.fdopen(write, "wb", buffering=0)
        self._in = os.fdopen(read, "rb")
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self._buffer = b""
        self._loaded = False
        self.problems: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """Close our ends of the pipes."""
        self._out.close()
        self._in.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call the browser and return its answer; raises RuntimeError for an error."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        """Return the next message, and record what an event says."""
        while b"\0" not in self._buffer:
            chunk = self._in.read1(1 << 20)
            if not chunk:
                raise RuntimeError("the browser has gone")
            self._buffer += chunk
        text, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(text)
        match message.get("method"):
            case "Log.entryAdded" if message["params"]["entry"]["level"] in ("error", "warning"):
                self.problems.append(message["params"]["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(message["params"]["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.problems.append(json.dumps(message["params"]["args"]))
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Page.loadEventFired":
                self._loaded = True
        return dict(message)

    def open(
        self,
        path: Path,
        *,
        width: int = 1000,
        dark: bool = False,
        script: bool = True,
        hash_: str = "",
    ) -> None:
        """Load a file in a window of that width."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        # The page before may be the same but for its hash, which would load nothing.
        self._go("about:blank")
        self.requests.clear()
        self._go(path.as_uri() + hash_)

    def _go(self, url: str) -> None:
        self._loaded = False
        self.call("Page.navigate", url=url)
        while not self._loaded:
            self._next()

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press and release a key, as on a keyboard."""
        codes = {
            "Enter": 13,
            "Escape": 27,
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
            "Tab": 9,
        }
        typed: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **typed, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **typed)


@contextmanager
def browser(directory: Path) -> Iterator[Page]:
    """Run a browser, with its profile in `directory`, until the block ends."""
    command = found()
    assert command is not None
    to_browser, from_us = os.pipe()
    from_browser, to_us = os.pipe()
    profile = f"--user-data-dir={directory / 'profile'}"
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            LAUNCH,
            str(to_browser),
            str(to_us),
            command,
            *OPTIONS,
            profile,
            "about:blank",
        ],
        pass_fds=(to_browser, to_us),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(to_browser)
        os.close(to_us)
        try:
            with closing(Page(from_us, from_browser)) as page:
                yield page
                page.call("Browser.close")
                process.wait(timeout=10)
        finally:
            process.kill()
