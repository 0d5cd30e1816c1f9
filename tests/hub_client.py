"""A process of its own that calls functions with a local Hub: huggingface_hub reads HF_ENDPOINT when it is imported."""

from __future__ import annotations

import contextlib
import io
import logging
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock


class Client:
    """Calls functions in that process, and makes sure that no call prints, logs or raises the token."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def call(self, token: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Return what a function returns there, or raise what it raises, logged in with a token ("" for nobody)."""
        result, error, text = self._executor.submit(_call, token, function, arguments, named).result()
        assert not token or token not in text
        if error is not None:
            raise error
        return result


@contextlib.contextmanager
def hub_client(url: str, home: Path, **environment: str) -> Iterator[Client]:
    """Start a client of the Hub at a URL, with its caches in a folder; waiting takes no time there."""
    changed = {
        **{"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"},
        **{"HF_HUB_DISABLE_SYMLINKS_WARNING": "1", "NO_PROXY": "*", "CRAFT_HF_HOME": str(home / "craft_hf")},
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # asks a server of its own
        **environment,
    }
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_hurry) as executor:
        with mock.patch.dict(os.environ, changed):
            executor.submit(os.getpid).result()  # the process starts here, with this environment
        yield Client(executor)


def _hurry() -> None:
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(float(seconds), 0.005))


def _call(
    token: str, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[Any, Exception | None, str]:
    os.environ.pop("HF_TOKEN", None)
    if token:
        os.environ["HF_TOKEN"] = token
    result, error, text = None, None, io.StringIO()
    handler = logging.StreamHandler(text)
    logging.getLogger().addHandler(handler)
    logging.getLogger("huggingface_hub").setLevel(logging.DEBUG)
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
        try:
            result = function(*arguments, **named)
        except Exception as e:  # noqa: BLE001 (goes to the caller)
            error = e
            text.write(traceback.format_exc())
    logging.getLogger().removeHandler(handler)
    return result, error, text.getvalue()
