"""CRAFT for the Hugging Face stack: few-shots and a corpus come in, a task-specific dataset goes out.

Importing this package makes `datasets.load_dataset("craft", task="bioqa")` work.
"""

from craft_hf.errors import CraftError, GeneratorError, HubError, InputError, StorageError
from craft_hf.plugin import register
from craft_hf.version import __version__

__all__ = ["CraftError", "GeneratorError", "HubError", "InputError", "StorageError", "__version__"]

register()
