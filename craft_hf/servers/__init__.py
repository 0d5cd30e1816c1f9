"""OpenAI-compatible servers: their addresses and keys, retries, how many requests each gets; embeddings from them.

The public names are listed in `__init__.pyi`; each is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
