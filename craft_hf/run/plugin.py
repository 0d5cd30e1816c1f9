"""Makes `load_dataset("craft", ...)` find the builder: importing craft_hf is enough.

`datasets` has no entry point for builders of other packages. Its functions look a dataset up through
`dataset_module_factory`, a name that `datasets.load` and `datasets.inspect` each hold; both are wrapped, and every path
but "craft" goes through untouched. That is done when the two modules are imported, which craft_hf itself does not do:
`import craft_hf` stays quick.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType

import wrapt

from craft_hf.base import InputError, __version__, fingerprint

PATH = "craft"

_UNUSED = ("revision", "data_dir", "data_files")
"""Arguments of `load_dataset` that say where a dataset is read from; this one is made."""


def unused_argument(name: str) -> str:
    """Return why an argument of `load_dataset` is refused."""
    instead = "index= names the documents, and install another version of craft_hf for another revision of the code"
    return (
        f'{name}= does nothing for load_dataset("{PATH}"), whose rows are made and not read; leave it out ({instead}).'
    )


def register() -> None:
    """Have the lookup of `datasets` wrapped: now where it is imported already, else as soon as it is."""
    for name in ("datasets.load", "datasets.inspect"):
        wrapt.register_post_import_hook(_wrap_lookup, name)


def _wrap_lookup(module: ModuleType) -> None:
    """Wrap a module's `dataset_module_factory`, unless it is wrapped: `datasets.inspect` takes that of `.load`."""
    lookup = module.dataset_module_factory
    if not getattr(lookup, "knows_craft", False):
        module.dataset_module_factory = _wrapped(lookup)  # type: ignore[attr-defined]


def _wrapped(lookup: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(lookup)
    def factory(path: str, *args: object, **kwargs: object) -> object:
        if path != PATH:
            return lookup(path, *args, **kwargs)
        if given := next((name for name in _UNUSED if kwargs.get(name) is not None), None):
            raise InputError(unused_argument(given))
        from datasets.load import DatasetModule

        return DatasetModule("craft_hf.run.craft", fingerprint(["craft_hf", __version__]), {"dataset_name": PATH})

    factory.knows_craft = True  # type: ignore[attr-defined]
    return factory
