"""The GPUs of this machine, in groups of which each gets an engine."""

from __future__ import annotations

import logging
import os
import subprocess

from craft_hf.base import InputError

_log = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"


def gpu_groups(size: int) -> list[tuple[str, ...]]:
    """Return the GPUs that may be used, in groups of a size; one empty group where there are none.

    Which may be used says CUDA_VISIBLE_DEVICES, by numbers or names, else nvidia-smi.

    Raises:
        InputError: there are fewer.
    """
    gpus = _gpus()
    if len(gpus) < size:
        if not gpus and size == 1:
            return [()]
        raise InputError(
            f"tensor_parallel is {size}, but there are {len(gpus)} GPUs here ({VISIBLE}, else nvidia-smi); give "
            "at most as many, or leave it out."
        )
    if left := len(gpus) % size:
        _log.warning("%d of %d GPUs are not used: tensor_parallel is %d.", left, len(gpus), size)
    return [tuple(gpus[start : start + size]) for start in range(0, len(gpus) - left, size)]


def _gpus() -> list[str]:
    if (given := os.environ.get(VISIBLE)) is not None:
        names = [name.strip() for name in given.split(",")]
        return names[: next((i for i, name in enumerate(names) if name in ("", "-1")), len(names))]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split() if listed.returncode == 0 else []
