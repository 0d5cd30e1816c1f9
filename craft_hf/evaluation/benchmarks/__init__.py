"""The paper's benchmarks as lm-eval (EleutherAI) tasks: `lm_eval --include_path FOLDER --tasks craft_paper`.

The prompts are exactly those of `craft-hf evaluate`: the prompt template of a craft_hf task, answered by a letter.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
"""The folder with the YAML files, for lm-eval's --include_path."""
