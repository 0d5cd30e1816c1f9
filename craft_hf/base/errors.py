"""The errors that a user can fix: each says what was given, what was expected, and what to do."""

from __future__ import annotations


class CraftError(Exception):
    """Base of all errors that craft_hf raises on purpose."""


class InputError(CraftError, ValueError):
    """Something that the user passed is wrong: a name, a file, a number, a task."""


class GeneratorError(CraftError, RuntimeError):
    """The generator cannot continue: it is unreachable, refuses requests, or its responses are unusable."""


class EmbeddingError(CraftError, RuntimeError):
    """The embedding servers cannot continue: they are unreachable, refuse requests, or their responses are unusable."""


class StorageError(CraftError, RuntimeError):
    """Writing to disk failed; what was written before is complete."""


class HubError(CraftError, RuntimeError):
    """The Hugging Face Hub cannot be reached or fails; what was sent or fetched before is not lost."""
