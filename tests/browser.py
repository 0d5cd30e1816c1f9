"""A real headless Chromium, and the real command that serves the review page to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""Path of the browser, None where there is none."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # root, as which containers run, has no sandbox
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class ReviewServer:
    """`craft-hf review FILE` in a process of its own."""

    def __init__(self, reviews: Path, port: int = 0, password: str = "") -> None:
        environment = {**os.environ, "CRAFT_HF_REVIEW_PASSWORD": password}
        command = [Path(sys.executable).with_name("craft-hf"), "review", reviews, "--port", str(port)]
        command += ["--reviewer", "ann"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._process.stdout
        line = self._process.stdout.readline()
        self.url = "http://" + line.strip().rpartition("http://")[2]
        self.port = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """kill -9."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=20)


def open_page(browser: Browser, url: str, name: str = "ann", **context: object) -> Page:
    """Open the review page as a reviewer, in a session of its own, and wait until it shows something."""
    page = browser.new_context(**context).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(15_000)
    page.add_init_script(f"localStorage['craft-hf-reviewer'] ??= {json.dumps(name)}")
    page.goto(url)
    page.wait_for_selector("body[data-ready]")
    return page
