"""The paper's benchmarks as tasks of lm-eval (EleutherAI): `lm_eval --include_path FOLDER --tasks craft_paper`.

The YAML files ask what `craft-hf evaluate` asks, in the same words: a craft_hf task's prompt, answered by a letter.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
"""What lm-eval gets as --include_path."""
