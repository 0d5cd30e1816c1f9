"""What asking a server costs us, beside a bare loop over aiohttp: all in one run, on one machine.

    make bench-client
    .venv/bin/python tests/benchmarks/bench_client.py [--prompts 4000] [--in-flight 256] [--seconds 0.2]

A server in a process of its own answers each prompt after so many seconds with a sample made of the prompt's hash; it
has no model, and is never what is waited for as long as fewer requests are in flight than it could answer.

client_vs_aiohttp    answers a second of `ask` (requests, reading of answers, journal with fsync) by those of a loop
                     that posts the same bodies and decodes the responses
limit_vs_best_fixed  answers a second with the adaptive limit by those of the best fixed number of requests in flight,
                     of a server that answers at most `--capacity` requests at a time and makes the others wait

Each is the median of `--repeats` runs, in turn. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from craft_hf.base.records import Prompt
from craft_hf.generation.generator import Sampling
from craft_hf.generation.journal import Journal
from craft_hf.generation.journaled import ask
from craft_hf.generation.server.dialect import Dialect
from craft_hf.generation.server.generator import ServerGenerator
from craft_hf.generation.usage import Usage
from craft_hf.servers.concurrency_limit import ConcurrencyLimit
from craft_hf.tasks.task import load_task

TASK = load_task("bioqa")
DOCUMENT = "Cells take up sugar and give off water. " * 60


def prompts(count: int) -> list[Prompt]:
    """Return prompts of three few-shots and a document, as long as those of a run."""
    turns: list[dict[str, str]] = []
    for shot in TASK.few_shots[:3]:
        turns += [
            {"role": "user", "content": shot.text},
            {"role": "assistant", "content": json.dumps(dict(shot.sample))},
        ]
    return [
        Prompt(f"key{i}", f"d{i}", (*turns, {"role": "user", "content": f"Text {i}:\n{DOCUMENT}"}), ("a", "b", "c"))
        for i in range(count)
    ]


def hash_sample(body: bytes) -> dict[str, Any]:
    """Make a sample of a request's hash."""
    words = hashlib.blake2b(body, digest_size=24).hexdigest()
    parts = [words[i : i + 6] for i in range(0, 48, 6)]
    return {
        "question": f"What does the {' '.join(parts)} do in the cell?",
        "options": [f"{letter}. It {part}" for letter, part in zip("ABCD", parts, strict=False)],
        "answer": "ABCD"[len(words) % 4],
    }


def serve(ready: Connection, seconds: float, capacity: int, sample: Callable[[bytes], dict[str, Any]]) -> None:
    """Answer chat completions until the process is killed."""
    from aiohttp import web

    free = asyncio.Semaphore(capacity)

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        async with free:
            await asyncio.sleep(seconds)
        message = {"role": "assistant", "content": json.dumps(sample(body))}
        return web.json_response(
            {
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": len(body) // 4, "completion_tokens": 60},
            }
        )

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "bench"}]})

    async def main() -> None:
        app = web.Application(client_max_size=2**26)
        app.add_routes([web.post("/v1/chat/completions", answer), web.get("/v1/models", models)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
        await site.start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


@contextmanager
def serving(
    seconds: float, capacity: int = 10**6, sample: Callable[[bytes], dict[str, Any]] = hash_sample
) -> Iterator[str]:
    """Run the server in a process of its own.

    Args:
        seconds: that an answer takes.
        capacity: answers at a time.
        sample: makes one of a request's body.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, seconds, capacity, sample), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.kill()


def bare(url: str, asked: Sequence[Prompt], in_flight: int) -> None:
    """Post all prompts and decode what comes back, with nothing else."""
    import aiohttp

    parameters = Dialect().parameters(TASK.schema, Sampling())

    async def main() -> None:
        free = asyncio.Semaphore(in_flight)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one(prompt: Prompt) -> None:
                async with free:
                    body = {"model": "bench", "messages": list(prompt.messages), **parameters}
                    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                        json.loads((await response.json())["choices"][0]["message"]["content"])

            await asyncio.gather(*map(one, asked))

    asyncio.run(main())


def ours(url: str, asked: Sequence[Prompt], in_flight: int, limit: int | None = None) -> None:
    """Ask all prompts as a run does; with `limit`, that many requests from the beginning to the end."""
    generator = ServerGenerator(url, model="bench", concurrency=in_flight)
    if limit:
        for endpoint in generator._endpoints:
            endpoint.limit = Fixed(limit)
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder)) as journal:
        usage = Usage()
        for _ in ask(generator, TASK.schema, Sampling(), asked, journal, usage, lambda: True):
            pass
        assert usage.answers == len(asked)


class Fixed(ConcurrencyLimit):
    """A limit that stays as it is."""

    def __post_init__(self) -> None:
        self.current = self._before_increase = self.maximum

    def on_answered(self) -> None:
        """Change nothing."""

    def on_overloaded(self, sent_at: float) -> None:
        """Change nothing."""


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds that a function takes, and the CPU seconds of this process."""
    start, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start, time.process_time() - cpu


def in_turn(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, float]]:
    """Run all ways one after the other, so many times; return the median seconds and CPU seconds of each."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(timed(way))
    return {
        name: (statistics.median(t for t, _ in found), statistics.median(c for _, c in found))
        for name, found in times.items()
    }


def main() -> None:
    """Measure, print, and print the figures as JSON at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=4000)
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=0.2, help="of an answer")
    parser.add_argument(
        "--capacity", type=int, nargs="*", default=[16, 64], help="answers at a time, of the limited one"
    )
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}")
    asked = prompts(options.prompts)
    figures: dict[str, float] = {}
    with serving(options.seconds) as url:
        ways = {
            "bare aiohttp": lambda: bare(url, asked, options.in_flight),
            "ask": lambda: ours(url, asked, options.in_flight),
            "ask, fixed limit": lambda: ours(url, asked, options.in_flight, options.in_flight),
        }
        ours(url, asked[:200], 64)  # loads what is loaded once
        found = in_turn(ways, options.repeats)
    for name, (seconds, cpu) in found.items():
        print(f"{name:18} {len(asked) / seconds:7.0f} answers/s {1000 * cpu / len(asked):7.2f} ms of CPU an answer")
    figures["client_vs_aiohttp"] = found["bare aiohttp"][0] / found["ask"][0]
    worst = 1.0
    for capacity in options.capacity:
        some = asked[: 30 * capacity]
        fixed = [max(capacity // 2, 1), capacity, 2 * capacity]
        with serving(options.seconds, capacity) as url:
            ways = {f"{n} fixed": partial(ours, url, some, 512, n) for n in fixed}
            found = in_turn(ways | {"adaptive": partial(ours, url, some, 512)}, 1)
        best = min(seconds for name, (seconds, _) in found.items() if name != "adaptive")
        worst = min(worst, best / found["adaptive"][0])
        print(f"capacity {capacity}: " + ", ".join(f"{n} {len(some) / s:.0f}/s" for n, (s, _) in found.items()))
    figures["limit_vs_best_fixed"] = worst
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
