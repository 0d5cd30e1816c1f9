"""How fast the review page is in a real browser: the first page, the next sample, a decision, a filter.

    .venv/bin/python tests/benchmarks/bench_review.py [--samples 10000] [--steps 50]

The samples are few-shots of bioqa over and over, each with a document of its text three times. The real command serves
them to headless Chromium. Times are taken in the browser, by its own clock: from the start of the navigation until the
first sample is laid out, and from a key until another sample is. With --samples 200 it ends in seconds. The last line
is JSON: medians and worst, in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from craft_hf.review.store import ReviewStore
from tests.browser import ReviewServer, chromium, open_page
from tests.reviewing import TASK, made_sample

if TYPE_CHECKING:
    from playwright.sync_api import Page

_PRESS = """async (key) => {
  const shown = () => document.querySelector('#sample .value')?.textContent;
  const before = shown(), start = performance.now();
  document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
  while (shown() === before) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""

_CHOOSE = """async ([id, value]) => {
  const shown = () => document.querySelector('#sample .value')?.textContent;
  const before = shown(), start = performance.now();
  const choice = document.getElementById(id);
  choice.value = value;
  choice.dispatchEvent(new Event('input'));
  while (shown() === before) await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""


def first_page_ms(page: Page) -> float:
    """Load the page anew; return the time from the start of the navigation until a sample is there."""
    page.reload(wait_until="commit")
    page.wait_for_selector("#sample .value")
    return float(page.evaluate("performance.now()"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=50, help="keys of each kind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder) / "r.sqlite"
        with ReviewStore(path, TASK.name) as reviews:
            samples = [made_sample(n) for n in range(options.samples)]
            for sample in samples:
                sample.document["text"] = "\n\n".join([sample.document["text"]] * 3)  # type: ignore[index]
            start = time.perf_counter()
            reviews.add(samples)
            print(f"{options.samples:,} samples put in: {time.perf_counter() - start:.2f} s", flush=True)
        server = ReviewServer(path)
        page = open_page(browser, server.url)
        found = {
            "first_page": [first_page_ms(page) for _ in range(5)],
            "next": [page.evaluate(_PRESS, "j") for _ in range(options.steps)],
            "accept": [page.evaluate(_PRESS, "a") for _ in range(options.steps)],
            "undo": [page.evaluate(_PRESS, "u") for _ in range(5)],
            "filter": [page.evaluate(_CHOOSE, ["text", text]) for text in ("17: ", "") * 3],
        }
        page.wait_for_timeout(500)
        server.kill()
    print(f"{os.cpu_count()} cores, headless Chromium and server on the same machine\n{'':12}median ms  worst ms")
    for name, times in found.items():
        print(f"{name:12}{statistics.median(times):>9.0f} {max(times):>9.0f}")
    rounded = {name: [round(statistics.median(t)), round(max(t))] for name, t in found.items()}
    print(json.dumps({"samples": options.samples, **rounded}))


if __name__ == "__main__":
    main()
