"""Train a LoRA adapter for a generator on human preference pairs, with TRL's DPOTrainer.

    craft-hf reviews pairs my-dataset.reviews.sqlite --out pairs.jsonl
    accelerate launch recipes/dpo.py --pairs pairs.jsonl
    accelerate launch recipes/dpo.py --pairs pairs.jsonl --model_name_or_path embedded  # on a CPU

All arguments: python recipes/dpo.py --help
"""

from craft_hf.training import run_preference_recipe

if __name__ == "__main__":
    run_preference_recipe()
