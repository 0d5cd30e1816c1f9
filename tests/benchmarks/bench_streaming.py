"""How soon a stream has its first generated row, beside the time of the whole run, with a server that is slow.

    .venv/bin/python tests/benchmarks/bench_streaming.py [--samples 100] [--delay 1] [--concurrency 8]

The server of the tests takes `--delay` seconds for each answer. Both times start with the first request for a row; the
model and the index are loaded before, by a run of one sample.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import datasets

import craft_hf  # noqa: F401  (makes load_dataset("craft") work)
from craft_hf.base.models import cache_folder
from tests.openai_server import serving
from tests.writer_server import WriterServer


def main() -> None:
    """Stream a run, and print when its rows came."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--delay", type=float, default=1.0)
    parser.add_argument("--concurrency", type=int, default=8)
    options = parser.parse_args()
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as home, serving(WriterServer()) as server:
        assert isinstance(server, WriterServer)
        for name in ("models", "indexes"):
            (cache_folder() / name).mkdir(parents=True, exist_ok=True)
            (Path(home) / name).symlink_to(cache_folder() / name)
        os.environ["CRAFT_HF_HOME"] = home
        wanted = {"task": "bioqa", "split": "train", "streaming": True, "generator": server.url}
        wanted["concurrency"] = options.concurrency
        list(datasets.load_dataset("craft", num_samples=1, seed=1, **wanted))
        server.delay_s = options.delay
        rows = datasets.load_dataset("craft", num_samples=options.samples, **wanted)
        started, came = time.monotonic(), list[float]()
        for row in rows:
            if not row["is_few_shot"]:
                came.append(time.monotonic() - started)
        whole = time.monotonic() - started
    print(f"{len(came)} rows, {options.delay:g} s an answer, {options.concurrency} requests at a time")
    for name, seconds in (
        ("first row", came[0]),
        ("half of the rows", came[len(came) // 2]),
        ("last row", came[-1]),
        ("whole run, with report and card", whole),
    ):
        print(f"{name:32} {seconds:7.1f} s  {seconds / whole:6.1%}")


if __name__ == "__main__":
    main()
