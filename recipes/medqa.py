"""Train a LoRA adapter for medqa: multiple-choice questions on health and medicine.

    accelerate launch recipes/medqa.py --size S
    accelerate launch recipes/medqa.py --model_name_or_path embedded --num_samples 24  # on a CPU

All arguments: python recipes/medqa.py --help
"""

from craft_hf.training import run_recipe

DEFAULTS = {"max_length": 512}

if __name__ == "__main__":
    run_recipe("medqa", DEFAULTS)
