"""The URLs that serve a chat model, and what a run has learned of the server behind each."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from craft_hf.generation.server.dialect import Dialect
from craft_hf.servers import Endpoint, redact

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class ChatEndpoint(Endpoint):
    """One URL, and what a run has learned of the server behind it.

    Attributes:
        dialect: how it is asked.
        has_answered: whether it has answered in this dialect; then what it refuses is the prompt.
        follows_schema: False once a finished answer was not valid under the schema.
        reasks_in_vain: prompts whose answer was not valid however often they were asked again; None once that helped.
    """

    dialect: Dialect = field(default_factory=Dialect)
    has_answered: bool = False
    follows_schema: bool = True
    reasks_in_vain: int | None = 0

    def adopt(self, dialect: Dialect, why: str) -> None:
        """Ask in another dialect from now on, and say what that leaves out.

        Args:
            dialect: of which the server has not refused anything so far.
            why: the words in which it refused what was sent before.
        """
        what = self.dialect.difference(dialect)
        _log.warning("%s refuses %s: going on without it. It says: %s", self.url, what, redact(why))
        self.dialect, self.has_answered = dialect, False

    def warn_invalid_answer(self) -> None:
        """Take note that a finished answer was not valid under the schema; the first one is logged."""
        if self.follows_schema:
            _log.warning("%s does not constrain answers to the schema: invalid ones are asked for again.", self.url)
        self.follows_schema = False
