"""How far a run is, in one line."""

from __future__ import annotations

from craft_hf.run.result import RunResult


def progress_line(name: str, wanted: int, result: RunResult) -> str:
    """Return what is kept, what was dropped by which check, and how fast the model writes.

    Args:
        name: of the task.
        wanted: samples to keep.
        result: of a run that may be going on in another thread.
    """
    kept, usage = len(result.samples), result.usage
    dropped = result.dropped.copy()
    reasons = ", ".join(f"{check} {count}" for check, count in sorted(dropped.items()))
    line = f"Generating {name}: {kept:,} of {wanted:,} samples from {usage.answers:,} answers"
    if dropped:
        line += f", dropped: {reasons}"
    if usage.completion_tokens_generated:  # before the first answer nobody knows
        line += f", {usage.completion_tokens_generated / max(usage.seconds_generating, 1e-9):.0f} tokens/s"
    return line
