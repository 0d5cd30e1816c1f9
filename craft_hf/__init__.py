"""CRAFT for the Hugging Face stack: task-specific datasets from few-shots and a corpus.

Importing this package makes `datasets.load_dataset("craft", task="bioqa")` work. Its own functions and classes are
listed in `__init__.pyi` and shown in docs/python.md; each is imported when it is first used.
"""

import lazy_loader

from craft_hf.run import register as _register

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

_register()
