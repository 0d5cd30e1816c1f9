"""Notices and bars of other libraries, of which a user can make nothing, are kept from the screen."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

_NOTICES = {"bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward"}
"""Loggers, and how their messages begin that say nothing about what was asked for: here, that a package is missing
that makes 4-bit models faster on CPUs. bitsandbytes is imported by peft, and peft by transformers, if it is there."""

_WARNINGS = {r"`is_gradient_checkpointing` is deprecated": FutureWarning}
"""How warnings begin that are between libraries, and their kinds: here, what peft 0.21 still asks transformers for."""


def _is_of_use(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_NOTICES[record.name])


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep back these notices and warnings while libraries are imported or put together; all others are shown."""
    loggers = [logging.getLogger(name) for name in _NOTICES]
    for logger in loggers:
        logger.addFilter(_is_of_use)
    try:
        with warnings.catch_warnings():
            for beginning, kind in _WARNINGS.items():
                warnings.filterwarnings("ignore", beginning, kind)
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(_is_of_use)


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Show no bars of transformers while it reads weights from the disk or writes them; downloads keep theirs.

    What `quiet_libraries` keeps from the screen is kept as well.
    """
    with quiet_libraries():
        from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but not marked so
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
        )
        from transformers import logging as bars

        if not bars.is_progress_bar_enabled():
            yield
            return
        downloads_are_shown = not are_progress_bars_disabled()
        bars.disable_progress_bar()  # also turns off those of downloads, ...
        if downloads_are_shown:
            enable_progress_bars()
        try:
            yield
        finally:
            bars.enable_progress_bar()  # ... and this turns them on
            if not downloads_are_shown:
                disable_progress_bars()
