"""All engines of a run, one for each group of GPUs, and the generator that asks them."""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from craft_hf.base import Activity, GeneratorError
from craft_hf.generation.engine.command import engine_command
from craft_hf.generation.engine.gpus import gpu_groups
from craft_hf.generation.engine.name import ANY, EngineName
from craft_hf.generation.engine.options import EngineOptions
from craft_hf.generation.engine.replica import Replica
from craft_hf.generation.server.generator import ServerGenerator


class Engines:
    """Engines that are started, and live until `stop`.

    Args:
        name: which, and of which model.
        options: how they are started.
        model: what they call the model; None for what they are told, or for the only one.
        limits: of `ServerGenerator`.
        logs: folder for what they print.

    Raises:
        InputError: the engine is not installed, or there are too few GPUs.
    """

    def __init__(
        self, name: EngineName, options: EngineOptions, model: str | None, limits: Mapping[str, float], logs: Path
    ) -> None:
        command = engine_command(name, options)
        groups = [()] if command.on_cpu else gpu_groups(options.tensor_parallel)
        key, self._changed = secrets.token_urlsafe(32), threading.Condition()
        self._replicas = []
        for number, gpus in enumerate(groups, 1):
            label = f"the engine {name.model if name.engine == ANY else name}"
            if len(groups) > 1:
                label += f" ({number} of {len(groups)})"
            log = logs / f"{name.engine}-{number}.log"
            self._replicas.append(Replica(label, command, gpus, key, log, options.start_s, self._changed))
        self._model, self._limits, self._was_up = model or command.served, limits, False
        try:
            for replica in self._replicas:
                replica.start()
        except BaseException:
            self.stop()
            raise

    @cached_property
    def server(self) -> ServerGenerator:
        """The generator of all URLs; they are known once all replicas were ready."""
        urls = ",".join(replica.url for replica in self._replicas)
        server = ServerGenerator(urls, self._model, **self._limits)  # type: ignore[arg-type]
        for replica in self._replicas:
            replica.answered = server.answered
        return server

    @property
    def deaths(self) -> int:
        """How often one of them died."""
        return sum(replica.deaths for replica in self._replicas)

    def has_died_since(self, deaths: int, within_s: float = 0.0) -> bool:
        """Whether one died since there were so many deaths, or within so many seconds from now."""
        with self._changed:
            return self._changed.wait_for(lambda: self.deaths > deaths or self._any_gone, within_s)

    @property
    def _any_gone(self) -> bool:
        return any(replica.error is None and not replica.is_listening for replica in self._replicas)

    @property
    def _any_up(self) -> bool:
        return any(replica.is_up for replica in self._replicas)

    def wait(self) -> None:
        """Wait until one answers; the first time, until all do.

        Raises:
            GeneratorError: at the first start one does not become ready; later, none is started again.
        """
        with Activity(self._line), self._changed:
            if not self._was_up:
                self._changed.wait_for(lambda: self._errors or all(r.is_up for r in self._replicas))
                self._was_up = not self._errors
            else:
                self._changed.wait_for(lambda: self._any_up or len(self._errors) == len(self._replicas))
            if self._errors and not (self._was_up and self._any_up):
                raise self._errors[0]

    @property
    def _errors(self) -> list[GeneratorError]:
        return [replica.error for replica in self._replicas if replica.error]

    def forgive(self) -> None:
        """Count no death so far as one in vain: what was asked is the cause."""
        for replica in self._replicas:
            replica.forgive()

    def _line(self) -> str:
        return next((replica.line for replica in self._replicas if not replica.is_up), "Asking the engine")

    def stop(self) -> None:
        """End all of them at once, and wait until they are gone."""
        for replica in self._replicas:
            replica.ask_to_stop()
        if sys.is_finalizing():  # no thread runs any more, and no watchdog needs one
            return
        with Activity("Stopping the engine"):
            for replica in self._replicas:
                replica.stop()
