"""The bar that shows how far something long is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets.utils import tqdm


def progress_bar(
    desc: str, unit: str, total: int | None = None, *, unit_scale: bool = False, delay: float = 0.0
) -> tqdm:
    """Return a bar of tqdm on stderr; `datasets.disable_progress_bars()` turns it off, as those of `datasets`.

    Args:
        desc: what is going on, such as "Embedding".
        unit: what is counted, with a space before a word.
        total: how many there are, if that is known.
        unit_scale: whether to write 1.5M for 1,500,000.
        delay: seconds before the bar is shown.
    """
    from datasets.utils import tqdm

    return tqdm(desc=desc, unit=unit, total=total, unit_scale=unit_scale, delay=delay)
