"""Train a LoRA adapter for summarization: summarizing long texts.

    accelerate launch recipes/summarization.py --size S
    accelerate launch recipes/summarization.py --model_name_or_path embedded --num_samples 24  # on a CPU

All arguments: python recipes/summarization.py --help
"""

from craft_hf.training import run_recipe

DEFAULTS = {"max_length": 4096, "per_device_train_batch_size": 1}

if __name__ == "__main__":
    run_recipe("summarization", DEFAULTS)
