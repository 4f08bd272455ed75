"""A real browser, asked over a pipe what it sees of a page; no driver is needed for that."""

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--remote-debugging-pipe",
)  # fmt: skip
TIMEOUT_S = 120
PROBLEMS = ("Runtime.exceptionThrown", "Log.entryAdded")


def find_browser() -> str | None:
    """A Chromium on this machine."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One page in one tab.

    Attributes:
        events: all that the browser said unasked.
    """

    def __init__(self, write: int, read: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._write, self._read, self._rest = write, read, b""
        self._number = itertools.count(1)
        self._session: dict[str, str] = {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and its answer."""
        number = next(self._number)
        sent = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._write, json.dumps(sent).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path: Path) -> None:
        """Load a file and wait until all of it is there."""
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def value_of(self, script: str) -> Any:
        """What an expression is on the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A key, down and up."""
        code = {"Enter": 13, "Tab": 9}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text,
            )  # fmt: skip

    def problems(self) -> list[dict[str, Any]]:
        """Errors and warnings of the page, its scripts and its console."""
        return [
            event
            for event in self.events
            if event["method"] in PROBLEMS
            or (
                event["method"] == "Runtime.consoleAPICalled"
                and event["params"]["type"] in ("error", "warning", "assert")
            )
        ]

    def requested(self) -> set[str]:
        """Addresses that were asked for."""
        sent = [e["params"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return {each["request"]["url"] for each in sent}

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], TIMEOUT_S)
            assert ready, f"the browser said nothing for {TIMEOUT_S} s"
            more = os.read(self._read, 1 << 20)
            assert more, "the browser is gone"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)


@contextmanager
def open_page(browser: str, path: Path, profile: Path) -> Iterator[Page]:
    """Show a file in a browser of its own."""
    to_browser, from_browser = os.pipe(), os.pipe()
    # The protocol wants descriptors 3 and 4, which these may be themselves.
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser[0], from_browser[1])]

    def hand_over() -> None:
        for end, wanted in zip(ends, (3, 4), strict=True):
            os.dup2(end, wanted)

    process = subprocess.Popen(
        [browser, *FLAGS, f"--user-data-dir={profile}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        pass_fds=(3, 4), preexec_fn=hand_over,
    )  # fmt: skip
    for end in (*ends, to_browser[0], from_browser[1]):
        os.close(end)
    try:
        page = Page(to_browser[1], from_browser[0])
        page.open(path)
        yield page
    finally:
        process.kill()
        process.wait()
        for end in (to_browser[1], from_browser[0]):
            os.close(end)
