"""Train a LoRA adapter for terms: what a term means, in one sentence.

    accelerate launch recipes/terms.py --size S
    accelerate launch recipes/terms.py --model_name_or_path embedded --num_samples 24  # on a CPU

All arguments: python recipes/terms.py --help
"""

from craft_hf.training import run_recipe

DEFAULTS = {"max_length": 256}

if __name__ == "__main__":
    run_recipe("terms", DEFAULTS)
