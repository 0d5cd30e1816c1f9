"""Where shards are built and searched: processes of this machine, a Ray cluster, or a Dask cluster.

All of them are `concurrent.futures.Executor`s. On a cluster every machine must see the index's folder under the same
path, and have craft_hf and the embedding model.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from craft_hf.base.errors import InputError
from craft_hf.base.extras import require


@dataclass(frozen=True)
class Workers:
    """Where tasks are run.

    Attributes:
        executor: runs them.
        count: how many it runs at a time.
        lost: what a task's future raises when the workers that ran it died, again and again where they are replaced.
    """

    executor: Executor
    count: int
    lost: tuple[type[Exception], ...] = (BrokenExecutor,)


@contextlib.contextmanager
def open_workers(where: str) -> Iterator[Workers | None]:
    """Start or connect to workers, and release them at the end.

    Args:
        where: "" for none; a number of processes of this machine; "ray" for the Ray cluster that RAY_ADDRESS or the
            machine names, or else a new one on this machine; "ray://host:port"; "dask" for a new Dask cluster on this
            machine, or the address of its scheduler ("tcp://host:port").

    Raises:
        InputError: `where` is none of these, or the cluster cannot be reached.
    """
    if not where:
        yield None
    elif where.isdecimal() and int(where) > 0:
        count = int(where)
        context = multiprocessing.get_context("spawn")
        numbers = context.Queue()
        for number in range(count):
            numbers.put(number)
        others = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(count, context, initializer=_initialize_worker, initargs=(numbers, count))
        try:
            yield Workers(pool, count)
        except BaseException:  # such as Ctrl-C: do not wait for unfinished shards
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    elif where == "ray" or where.startswith("ray://"):
        yield from _ray(where)
    elif where == "dask" or where.startswith(("tcp://", "tls://")):
        yield from _dask(where)
    else:
        raise InputError(
            f'workers are {where!r}; expected a number of processes, "ray", "ray://host:port", "dask", or the '
            '"tcp://host:port" of a Dask scheduler.'
        )


def _initialize_worker(numbers: Any, count: int) -> None:
    """Give a process its share of the cores, or one of the GPUs; its parent handles Ctrl-C, and it ends with that."""
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    number = numbers.get()
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))


def _end_with_parent() -> None:
    """End this process when its parent is gone: killed, it could not tell the pool, whose processes wait for work."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


_RAY_LOST = ("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "OutOfMemoryError", "ObjectLostError")
"""Names of the exceptions of Ray that say that workers died; it starts a task four times."""


class _RayExecutor(Executor):
    def __init__(self, ray: Any, resources: dict[str, int]) -> None:
        self._call = ray.remote(**resources)(_call)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = self._call.remote(fn, *args, **kwargs).future()
        return future


def _call(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return fn(*args, **kwargs)


def _ray(where: str) -> Iterator[Workers]:
    ray = require("ray", "ray")
    started = not ray.is_initialized()
    try:
        if started:
            ray.init(address=where if "://" in where else None, log_to_driver=False, logging_level="warning")
    except (ConnectionError, OSError, ValueError) as e:
        raise InputError(f"the Ray cluster {where!r} cannot be reached: {e}") from e
    try:
        resources = ray.cluster_resources()
        kind = "GPU" if resources.get("GPU") else "CPU"
        executor = _RayExecutor(ray, {f"num_{kind.lower()}s": 1})
        yield Workers(
            executor, max(1, int(resources.get(kind, 1))), tuple(getattr(ray.exceptions, e) for e in _RAY_LOST)
        )
    finally:
        if started:
            ray.shutdown()


def _dask(where: str) -> Iterator[Workers]:
    distributed = require("distributed", "dask")
    with contextlib.ExitStack() as opened:
        scheduler: Any = where
        if where == "dask":
            scheduler = opened.enter_context(distributed.LocalCluster(threads_per_worker=1, dashboard_address=None))
        try:
            client = opened.enter_context(distributed.Client(scheduler))
        except OSError as e:
            raise InputError(f"the Dask scheduler {where!r} cannot be reached: {e}") from e
        executor = client.get_executor(pure=False, retries=3)
        yield Workers(executor, max(1, sum(client.nthreads().values())), (distributed.KilledWorker,))
