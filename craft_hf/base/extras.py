"""Optional packages: imported where they are used, with the install command in the error."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from craft_hf.base.errors import CraftError
from craft_hf.base.quiet import quiet_libraries


class MissingExtra(CraftError, ImportError):
    """An optional package is not installed."""


def is_installed(module: str) -> bool:
    """Return whether a module is installed, without importing it."""
    return importlib.util.find_spec(module) is not None


def require(module: str, extra: str) -> ModuleType:
    """Import and return an optional module.

    Args:
        module: the dotted name to import, such as "openai".
        extra: the extra of craft_hf that brings it, such as "server".

    Raises:
        MissingExtra: the module is not installed; the message holds the install command.
    """
    try:
        with quiet_libraries():
            return importlib.import_module(module)
    except ImportError as e:
        raise MissingExtra(f'{module} is not installed; run: pip install "craft_hf[{extra}]"') from e
