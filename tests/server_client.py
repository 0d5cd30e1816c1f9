"""What the tests of `generate.server` have in common: prompts, a quick generator, and an environment without keys."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from craft_hf.base.errors import GeneratorError
from craft_hf.base.records import Answer, Prompt
from craft_hf.generation.generator import Sampling
from craft_hf.generation.journal import Journal
from craft_hf.generation.journaled import ask
from craft_hf.generation.server.generator import ServerGenerator
from craft_hf.generation.usage import Usage
from tests.openai_server import FakeServer

PROMPTLY_S = 5
"""Far below what would be waited for otherwise, and enough for a busy machine."""

SCHEMA = {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No key and no proxy of the machine that runs the tests; and no thread of the generator is left behind."""
    for name in ("CRAFT_HF_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "OPENAI_CUSTOM_HEADERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    before = _own_threads()
    yield
    end = time.monotonic() + 2  # a pool's idle threads get a moment to notice
    while (left := _own_threads() - before) and time.monotonic() < end:
        time.sleep(0.01)
    assert not left


def _own_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith(("craft_hf", "asyncio", "AnyIO"))}


def prompts(count: int, few_shots: int = 1) -> list[Prompt]:
    """Prompts "ask 0", "ask 1" and so on, with so many tuples of few-shots in turn."""
    return [
        Prompt(f"key{i}", f"d{i}", ({"role": "user", "content": f"ask {i}"},), (f"f{i % few_shots}",))
        for i in range(count)
    ]


def generator(url: str, **changes: object) -> ServerGenerator:
    """A generator that waits hardly at all between tries."""
    return ServerGenerator(url, **{"model": "tiny", "backoff_s": 0.01, "max_retries": 2, **changes})  # type: ignore[arg-type]


def both(*fakes: FakeServer) -> str:
    """The addresses of several servers."""
    return ",".join(fake.url for fake in fakes)


def answers(fake: FakeServer, count: int = 1, schema: Mapping[str, Any] = SCHEMA, **changes: object) -> list[Answer]:
    """What a generator at the fake server answers."""
    return [a for _, a in generator(fake.url, **changes).generate(prompts(count), schema, Sampling())]


def failure(fake: FakeServer | str, count: int = 1, **changes: object) -> str:
    """The message of the error that ends a run of so many prompts."""
    asked = generator(fake if isinstance(fake, str) else fake.url, **changes)
    with tempfile.TemporaryDirectory() as folder, pytest.raises(GeneratorError) as e, Journal(Path(folder)) as journal:
        list(ask(asked, SCHEMA, Sampling(), prompts(count), journal, Usage(), lambda: True))
    return str(e.value)


def until(true: Callable[[], bool], patience_s: float = 10.0) -> None:
    """Wait until `true()` holds, and fail if it does not come to that."""
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)
