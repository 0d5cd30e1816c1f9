"""CRAFT for the Hugging Face stack: task-specific datasets from few-shots and a corpus.

Importing this package makes `datasets.load_dataset("craft", task="bioqa")` work.
"""

from craft_hf.base import CraftError, GeneratorError, HubError, InputError, StorageError, __version__
from craft_hf.run import register

__all__ = ["CraftError", "GeneratorError", "HubError", "InputError", "StorageError", "__version__"]

register()
