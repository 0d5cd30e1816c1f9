"""An engine without a model, as a program: it tells how it was started, writes samples, and dies when it is told to."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.openai_server import Reply, error, ok, serving
from tests.writer_server import WriterServer

KEY_VARIABLE = "CRAFT_HF_ENGINE_KEY"


class StandIn(WriterServer):
    """Answers those who know the key; dies before its answer number `most`."""

    poison: str | None = None

    def __init__(self, name: str, root: str, most: int, delay_s: float) -> None:
        super().__init__(delay_s=delay_s)
        self.models, self.root, self.most = (name,), root, most

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """A sample of the document, or of no document."""
        if self.keys[-1] != f"Bearer {os.environ[KEY_VARIABLE]}":
            return error(401, "wrong key")
        if body.get("max_tokens") == 1:  # whoever asks whether it is ready
            return ok("A")
        if self.poison and self.poison in body["messages"][-1]["content"]:
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
        if self.answered == self.most:
            os.kill(os.getpid(), signal.SIGKILL)
        if "Text:\n" in body["messages"][-1]["content"]:
            return super().reply_to(body)
        with self.lock:
            self.answered += 1
        return ok(delay_s=self.delay_s)


def main() -> None:
    """Serve until killed, as the options say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--port", type=int)
    parser.add_argument("--served-model-name", default="stand-in")
    parser.add_argument("--record", type=Path, help="file to which a line of JSON is appended: how it was started")
    parser.add_argument("--answers", type=int, default=-1, help="answers after which it kills itself")
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--says", default="ready", help="what it prints, beside its key")
    parser.add_argument("--ends", type=int, help="end with this status in place of serving")
    parser.add_argument("--sleeps", type=float, default=0.0, help="seconds before it listens")
    parser.add_argument("--refuses", action="store_true", help="refuse every prompt")
    parser.add_argument("--poison", help="words of a prompt of which it dies")
    parser.add_argument("--own-key", action="store_true", help="refuse the key that it got")
    parser.add_argument("--children", action="store_true", help="start one process in its group, and one outside")
    given, _ = parser.parse_known_args()
    children = [subprocess.Popen(["sleep", "600"], start_new_session=own) for own in (False, True) if given.children]
    record = {
        "pid": os.getpid(),
        "port": given.port,
        "children": [child.pid for child in children],
        "arguments": sys.argv[1:],
        "variables": dict(os.environ),
    }
    if given.record:
        with given.record.open("a") as file:
            file.write(json.dumps(record) + "\n")
    if given.own_key:
        os.environ[KEY_VARIABLE] = "its own"
    print(f"my key is {os.environ[KEY_VARIABLE]}", *(word for word in sys.argv if "\n" not in word), flush=True)
    print(given.says, flush=True)
    if given.ends is not None:
        sys.exit(given.ends)
    time.sleep(given.sleeps)
    stand_in = StandIn(given.served_model_name, given.model, given.answers, given.delay_s)
    stand_in.poison = given.poison
    if given.refuses:
        stand_in.reply_to = lambda body: error(400, "there is no chat template")  # type: ignore[method-assign]
    with serving(stand_in, given.port):
        threading.Event().wait()


if __name__ == "__main__":
    main()
