"""Makes `load_dataset("craft", ...)` find the builder: importing craft_hf is enough.

`datasets` has no entry point for builders of other packages. Its functions look a dataset up through
`dataset_module_factory`, a name that `datasets.load` and `datasets.inspect` each hold; both are wrapped, and every path
but "craft" goes through untouched.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from craft_hf.base import __version__, fingerprint

PATH = "craft"


def register() -> None:
    """Wrap the lookup of `datasets`; a second call does nothing."""
    for name in ("datasets.load", "datasets.inspect"):
        module: Any = importlib.import_module(name)
        lookup = module.dataset_module_factory
        if not getattr(lookup, "knows_craft", False):
            module.dataset_module_factory = _wrapped(lookup)


def _wrapped(lookup: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(lookup)
    def factory(path: str, *args: object, **kwargs: object) -> object:
        if path != PATH:
            return lookup(path, *args, **kwargs)
        from datasets.load import DatasetModule

        return DatasetModule("craft_hf.run.craft", fingerprint(["craft_hf", __version__]), {"dataset_name": PATH})

    factory.knows_craft = True  # type: ignore[attr-defined]
    return factory
