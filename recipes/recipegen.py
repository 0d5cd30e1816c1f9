"""Train a LoRA adapter for recipegen: writing cooking recipes.

    accelerate launch recipes/recipegen.py --size S
    accelerate launch recipes/recipegen.py --model_name_or_path embedded --num_samples 24  # on a CPU

All arguments: python recipes/recipegen.py --help
"""

from craft_hf.training import run_recipe

DEFAULTS = {"max_length": 2048, "per_device_train_batch_size": 2}

if __name__ == "__main__":
    run_recipe("recipegen", DEFAULTS)
