"""What a command is doing, shown on stderr: a line that is updated on a terminal, else a new line every few seconds.

Bars of `tqdm` are drawn when they are updated, and so fall silent while one step takes long; here a thread draws. It is
off where the progress bars of `datasets` are.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Self

REFRESH_S = 0.5
"""Seconds between two looks at what is to be shown."""

LEAST_SECONDS = 2.0
"""Seconds after which a rate is known well enough to say how long it will still take."""

LINE_EVERY_S = 8.0
"""Seconds between two lines where stderr is no terminal."""


class Activity:
    """A step that takes time, shown while it is entered; of activities within each other, the innermost is shown.

    An activity may be entered several times, and counts only the seconds in between.

    Args:
        text: what goes on, or a function that says it at each look.
    """

    def __init__(self, text: str | Callable[[], str]) -> None:
        self._text = text
        self._seconds, self._entered_at = 0.0, 0.0
        self._depth = 0

    @property
    def seconds(self) -> float:
        """Seconds spent in this activity so far."""
        return self._seconds + (time.monotonic() - self._entered_at if self._depth else 0.0)

    def __enter__(self) -> Self:
        if not self._depth:
            self._entered_at = time.monotonic()
        self._depth += 1
        _display.push(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._seconds += time.monotonic() - self._entered_at
        _display.pop(self)

    def line(self, width: int | None = None) -> str:
        """Return what goes on and for how long, which stays in view where the text is cut to a width in characters."""
        text = self._text if isinstance(self._text, str) else self._text()
        time = self._time()
        return (text + time) if width is None else (text[: max(0, width - len(time))] + time)[:width]

    def _time(self) -> str:
        return f", {_duration(self.seconds)}" if self.seconds >= 1 else ""

    def print_line(self) -> None:
        """Show the activity once more, as a line that stays."""
        _display.print_line(self.line())


class Bar(Activity):
    """An activity that counts, and says about how long it will still take where the total is known.

    Args:
        text: what goes on.
        total: to how much it counts, if that is known.
        unit: what it counts, in the plural.
    """

    def __init__(self, text: str, total: int | None = None, unit: str = "") -> None:
        super().__init__(self._counted)
        self._name, self._total, self._unit, self._count = text, total, unit, 0

    def update(self, count: int = 1) -> None:
        """Count so many more."""
        self._count += count

    def _time(self) -> str:
        left = (self._total or 0) - self._count
        if self._count == 0 or left <= 0 or self.seconds < LEAST_SECONDS:
            return super()._time()
        return f"{super()._time()}, about {_duration(self.seconds * left / self._count)} left"

    def _counted(self) -> str:
        of = "" if self._total is None else f" of {self._total:,}"
        return f"{self._name}: {self._count:,}{of} {self._unit}".rstrip()


class _Display:
    """The activities that are entered, and the thread that shows the innermost."""

    def __init__(self) -> None:
        self._stack: list[Activity] = []
        self._changed = threading.Condition()  # over an RLock: a collected generator may pop while something is pushed
        self._thread: threading.Thread | None = None
        self._line_at = -LINE_EVERY_S
        self._drawn = ""  # what stands on the terminal's last line

    def push(self, activity: Activity) -> None:
        with self._changed:
            self._stack.append(activity)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="craft_hf progress", daemon=True)
                self._thread.start()
            elif len(self._stack) == 1:
                self._changed.notify()

    def pop(self, activity: Activity) -> None:
        with self._changed:
            for place in reversed(range(len(self._stack))):
                if self._stack[place] is activity:
                    del self._stack[place]
                    break
            if not self._stack:
                self._erase()

    def print_line(self, text: str) -> None:
        with self._changed:
            self._erase()
            self._write(f"{text}\n")
            self._line_at = time.monotonic()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._stack:
                    self._changed.wait()
                if _is_terminal():
                    self._draw(self._stack[-1].line(shutil.get_terminal_size().columns - 1))
                elif time.monotonic() - self._line_at >= LINE_EVERY_S:
                    self.print_line(self._stack[-1].line())
                self._changed.wait(REFRESH_S)

    def _draw(self, text: str) -> None:
        """Put a text in the place of the terminal's last line."""
        if text != self._drawn:
            self._write(f"\r{text}\x1b[K")
            self._drawn = text

    def _erase(self) -> None:
        if self._drawn:
            self._write("\r\x1b[K")
            self._drawn = ""

    def _write(self, text: str) -> None:
        if not _is_disabled():
            with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed, or there is none
                sys.stderr.write(text)
                sys.stderr.flush()


def _is_terminal() -> bool:
    with contextlib.suppress(ValueError, AttributeError):
        return sys.stderr.isatty()
    return False


def _is_disabled() -> bool:
    """Whether `datasets.disable_progress_bars()` was called, or its environment variable says so."""
    if (asked := getattr(sys.modules.get("datasets.utils.tqdm"), "are_progress_bars_disabled", None)) is not None:
        return bool(asked())
    return os.environ.get("HF_DATASETS_DISABLE_PROGRESS_BARS", "").upper() in ("1", "ON", "YES", "TRUE")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}" if minutes else f"{rest} s"


def _start_anew() -> None:
    """Forget the activities of the process that was forked: they go on there, and its thread is not here."""
    global _display
    _display = _Display()


_display = _Display()
os.register_at_fork(after_in_child=_start_anew)
