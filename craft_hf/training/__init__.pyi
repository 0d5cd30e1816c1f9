from .finetune import DEFAULT_MODEL as DEFAULT_MODEL
from .finetune import run_recipe as run_recipe
from .preference import run_preference_recipe as run_preference_recipe
from .scaling import Study as Study
from .scaling import evaluate_points as evaluate_points
from .scaling import train_points as train_points
from .scaling_results import study_markdown as study_markdown
from .scaling_results import write_study as write_study
