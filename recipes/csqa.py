"""Train a LoRA adapter for csqa: yes-or-no questions about everyday life.

    accelerate launch recipes/csqa.py --size S
    accelerate launch recipes/csqa.py --model_name_or_path embedded --num_samples 24  # on a CPU

All arguments: python recipes/csqa.py --help
"""

from craft_hf.training import run_recipe

DEFAULTS = {"max_length": 256}

if __name__ == "__main__":
    run_recipe("csqa", DEFAULTS)
