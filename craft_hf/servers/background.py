"""A coroutine that runs in an event loop of its own thread, and whose items a plain iterator yields."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def _release(slots: asyncio.Semaphore, count: int) -> None:
    for _ in range(count):
        slots.release()


def iterate_in_background(
    work: Callable[[Callable[[T], None], asyncio.Semaphore], Coroutine[Any, Any, None]], slots: int
) -> Iterator[T]:
    """Run `work` in an event loop of its own thread and yield what it puts.

    It has a thread because the caller may have a running event loop (a notebook), and may be busy between two items.
    Closing the iterator cancels `work`; an error in `work` is raised after the items that it put before.

    Args:
        work: called with the function that puts an item, and the slots; it acquires one for every item that it will
            put.
        slots: items that may be in work, or put and not yet taken, at a time; taking an item releases its slot.
    """
    items: queue.SimpleQueue[T | None] = queue.SimpleQueue()
    loop = asyncio.new_event_loop()
    free = asyncio.Semaphore(slots)
    task = loop.create_task(work(items.put, free))
    task.add_done_callback(lambda _: items.put(None))
    finished = asyncio.wait([task])  # unlike the task, it raises nothing in the thread
    thread = threading.Thread(target=loop.run_until_complete, args=(finished,), name="craft_hf server", daemon=True)
    thread.start()
    taken = 0
    try:
        while (item := items.get()) is not None:
            taken += 1
            if items.empty() or taken >= max(1, slots // 8):  # each call wakes the loop
                loop.call_soon_threadsafe(_release, free, taken)
                taken = 0
            yield item
        task.result()  # raises the error that ended the work
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()
