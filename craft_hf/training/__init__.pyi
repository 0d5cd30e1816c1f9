from .finetune import DEFAULT_MODEL as DEFAULT_MODEL
from .finetune import run_recipe as run_recipe
from .preference import run_preferences as run_preferences
from .scaling import Study as Study
from .scaling import measure_points as measure_points
from .scaling import train_points as train_points
from .scaling_results import as_markdown as as_markdown
from .scaling_results import write_study as write_study
