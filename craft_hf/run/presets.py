"""Presets: many settings under one name. What is given beside a preset takes the place of its value."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from craft_hf.base import InputError
from craft_hf.run.settings import MIXED, PER_PROMPT
from craft_hf.tasks import QUERY_AS_WHOLE


@dataclass(frozen=True)
class Preset:
    """Values of settings; `by_task` has further ones for single shipped tasks.

    With `skips_optional`, all checks of craft_hf that a run may skip are skipped, whichever there are.
    """

    values: Mapping[str, object]
    by_task: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    skips_optional: bool = False

    def of(self, task: object) -> dict[str, object]:
        """Return the preset's values for a task."""
        from craft_hf.quality import optional_built_in

        own = ("recipe",) if str(task) == "recipegen" else ()  # in the folder of a shipped task
        skipped = {"skip_checks": (*optional_built_in(), *own)} if self.skips_optional else {}
        return {**self.values, **skipped, **self.by_task.get(str(task), {})}


PAPER = Preset(
    values={
        "query": ("text", "prompt", "completion"),
        "query_form": QUERY_AS_WHOLE,
        "retrieval": MIXED,
        "min_similarity": -1.0,
        "prefix_groups": PER_PROMPT,
        "prompts_per_sample": 2,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 40,
        "duplicate_threshold": 85.0,
        "duplicates_by": "json",
    },
    by_task={
        "bioqa": {"max_new_tokens": 1536},
        "medqa": {"max_new_tokens": 256},
        "csqa": {"max_new_tokens": 256},
        "recipegen": {"max_new_tokens": 1280},
        "summarization": {"max_new_tokens": 1536},
    },
    skips_optional=True,
)
"""The paper's method (Ziegler et al. 2024, arXiv 2409.02098, section 3 and its public code).

docs/paper.md says what each value is for, and what a run with them still does in another way.
"""

PRESETS: Mapping[str, Preset] = {"paper": PAPER}


def preset_of(name: object) -> Preset:
    """Return a preset by its name.

    Raises:
        InputError: there is none of this name.
    """
    if isinstance(name, str) and name in PRESETS:
        return PRESETS[name]
    near = difflib.get_close_matches(str(name), PRESETS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise InputError(f"there is no preset {name!r}.{hint} Presets: {', '.join(PRESETS)}.")
