"""Train a LoRA adapter for a generator by people's preferences, with TRL's DPOTrainer.

    craft-hf reviews pairs my-dataset.reviews.sqlite --out pairs.jsonl
    accelerate launch recipes/dpo.py --pairs pairs.jsonl
    accelerate launch recipes/dpo.py --pairs pairs.jsonl --model_name_or_path embedded  # on a CPU

All arguments: python recipes/dpo.py --help
"""

from craft_hf.training import run_preferences

if __name__ == "__main__":
    run_preferences()
