"""An event loop behind an iterator: a coroutine puts items, the caller takes them, and both end together."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def in_background(
    work: Callable[[Callable[[T], None], asyncio.Semaphore], Coroutine[Any, Any, None]], slots: int
) -> Iterator[T]:
    """Run `work` in an event loop of its own thread and yield what it puts; both end with the iteration.

    A thread, because the caller may have a running loop (a notebook), and may be busy between two answers.

    Args:
        work: is passed the function that puts an item, and the slots; it takes one for every item that it will put.
        slots: items that may be in work, or put and not yet taken, at a time; to take an item frees its slot.
    """
    arrived: queue.SimpleQueue[T | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    free = asyncio.Semaphore(slots)
    task = loop.create_task(work(arrived.put, free))
    task.add_done_callback(lambda _: arrived.put(None))
    ended = asyncio.wait([task])  # raises nothing, whatever ends the task
    thread = threading.Thread(target=loop.run_until_complete, args=(ended,), name="craft_hf server", daemon=True)
    thread.start()
    try:
        while (item := arrived.get()) is not None:
            loop.call_soon_threadsafe(free.release)
            yield item
        task.result()  # raises what ended the work
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
