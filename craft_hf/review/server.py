"""Serves the review page until it is stopped."""

from __future__ import annotations

import socket
from contextlib import suppress

import uvicorn

from craft_hf.base import InputError
from craft_hf.review.app import make_app
from craft_hf.review.store import ReviewStore
from craft_hf.tasks import Task


def serve(
    reviews: ReviewStore, task: Task, host: str, port: int, reviewer: str = "", password: str | None = None
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        reviews: the store.
        task: of the samples.
        host: address to listen at.
        port: 0 for one that is free.
        reviewer: name that the page suggests.
        password: of all reviewers; None only if nobody else can reach `host`.

    Raises:
        InputError: the address is not to be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError as e:
            raise InputError(f"{host}, port {port}, cannot be used: {e}; give another --port, or 0.") from e
        shown = f"[{host}]" if ":" in host else host
        print(f"{reviews.count():,} samples of {task.name}: http://{shown}:{listener.getsockname()[1]}", flush=True)
        print(f"decisions are kept in {reviews.path}; stop with Ctrl-C", flush=True)
        app = make_app(reviews, task, reviewer, password)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        with suppress(KeyboardInterrupt):  # that is how it is stopped
            uvicorn.Server(config).run(sockets=[listener])
