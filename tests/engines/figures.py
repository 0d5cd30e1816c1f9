"""What the engines' tests measure, as a table and a JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """What became of the prompts of one task at one engine.

    Attributes:
        task: its name.
        engine: its name.
        prompts: that were asked.
        finished: answers that the limit of new tokens did not cut.
        valid: those of them that are valid under the task's schema.
        kept: those of them that all checks kept.
        left_out: parameters of requests that the engine did not take, separated by commas.
        cut_prompts: prompts of which the engine counted fewer tokens than their text must have.
        cached: share of the prompts' tokens that the engine had in its cache.
        seconds: from the first request to the last answer.
    """

    task: str
    engine: str
    prompts: int
    finished: int
    valid: int
    kept: int
    left_out: str
    cut_prompts: int
    cached: float
    seconds: int


class Figures:
    """Figures in a file.

    Args:
        file: of JSON; written anew with each figure.
    """

    def __init__(self, file: Path) -> None:
        self._file, self._rows = file, list[Figure]()

    def add(self, figure: Figure) -> None:
        """Write a figure down, and print all so far as a Markdown table."""
        self._rows.append(figure)
        rows = [asdict(row) for row in self._rows]
        self._file.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
        print(f"\n{self._file}", *("| " + " | ".join(map(str, line)) + " |" for line in lines), sep="\n")
