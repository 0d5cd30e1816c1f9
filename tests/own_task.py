"""A task of one's own, where a test needs fields that no shipped task has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from craft_hf.base.records import JSON


def write_task(
    folder: Path,
    properties: Mapping[str, object],
    few_shots: Sequence[tuple[str, Mapping[str, JSON]]],
    required: Sequence[str] | None = None,
    **more: object,
) -> str:
    """Write the folder of a task, named like it, and return its path; all fields are required if nothing is said."""
    first = next(iter(properties))
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": dict(properties),
        "required": list(properties) if required is None else list(required),
    }
    task = {
        "name": folder.name,
        "instructions": "Read the text, and answer with one JSON object.",
        "schema": schema,
        "prompt_template": f"{{{{ {first} }}}}",
        "completion_template": f"{{{{ {first} }}}}",
        "max_new_tokens": 200,
        **more,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.yaml").write_text(json.dumps(task), encoding="utf-8")
    lines = [{"text": text, "sample": sample, "source": "own", "license": "CC0 1.0"} for text, sample in few_shots]
    (folder / "few_shots.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(folder)
