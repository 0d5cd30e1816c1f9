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

DATA = ("data_dir", "data_files")
"""Arguments of `load_dataset` that say where a dataset is read from; this one is made."""

_INSTEAD = {
    "token": "`hf auth login` or HF_TOKEN opens a private index",
    "download_mode": "load it once without streaming=True to begin anew; the stream then has the new rows",
}
_INSTEAD_OF_OTHERS = (
    "index= names the documents, and install another version of craft_hf for another revision of the code"
)


def unused_argument(name: str) -> str:
    """Return why an argument of `load_dataset` is refused."""
    return (
        f'{name}= does nothing for load_dataset("{PATH}"), whose rows are made and not read; leave it out '
        f"({_INSTEAD.get(name, _INSTEAD_OF_OTHERS)})."
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
        if given := next((name for name in ("revision", *DATA) if kwargs.get(name) is not None), None):
            raise InputError(unused_argument(given))
        from datasets import DownloadMode
        from datasets.load import DatasetModule

        fresh = kwargs.get("download_mode") == DownloadMode.FORCE_REDOWNLOAD
        about = {"dataset_name": PATH, "_fresh": fresh}
        return DatasetModule("craft_hf.run.craft", fingerprint(["craft_hf", __version__]), about)

    factory.knows_craft = True  # type: ignore[attr-defined]
    return factory
