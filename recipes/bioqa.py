"""Train a LoRA adapter for bioqa: multiple-choice questions on biology.

    accelerate launch recipes/bioqa.py --size S
    accelerate launch recipes/bioqa.py --model_name_or_path embedded --num_samples 24  # on a CPU

All arguments: python recipes/bioqa.py --help
"""

from craft_hf.training import run_recipe

DEFAULTS = {"max_length": 512}

if __name__ == "__main__":
    run_recipe("bioqa", DEFAULTS)
