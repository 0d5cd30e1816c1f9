"""A check whose errors cost a sample, not the run; unless it fails for every sample."""

from __future__ import annotations

import inspect
import math
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import SupportsFloat
from weakref import WeakKeyDictionary

from craft_hf.base import CraftError, InputError, Verdict
from craft_hf.quality.check import Check, CheckContext, GeneratedSample, Limit
from craft_hf.quality.registry import checks_for, is_built_in, place_of, way_without
from craft_hf.tasks import Task, unwritable

ENOUGH = 5
"""Samples that a check must have seen, and failed for, before a run is ended for it."""

_MOST_CHARS = 200


class GuardedCheck:
    """Wraps a check: a sample for which it raises, or gives no verdict of its own, is dropped with the error.

    A `CraftError` is for the user of the run and goes through. A check that is not of craft_hf is shown copies of the
    samples, so that nothing it does to their fields comes into the rows.
    """

    def __init__(self, check: Check) -> None:
        self.check, self.name, self.compares = check, check.name, check.compares
        self._copies: WeakKeyDictionary[GeneratedSample, GeneratedSample] | None = None
        if not is_built_in(type(check)):
            self._copies = WeakKeyDictionary()
        self._seen = self._failed = 0
        self._problem = ""
        self._alone = False

    def prepare(self, samples: Sequence[GeneratedSample]) -> None:
        """Prepare a batch; where that fails, each of its samples is prepared alone when its turn comes."""
        self._alone = False
        try:
            self.check.prepare([self._shown(sample) for sample in samples])
        except CraftError:
            raise
        except Exception:  # noqa: BLE001 (whatever a user's check raises; told for the sample that it is raised for)
            self._alone = True

    def look(self, sample: GeneratedSample) -> Verdict:
        """Return the verdict on a sample, without counting it."""
        return self._look(sample)[0]

    def judge(self, sample: GeneratedSample) -> Verdict:
        """Return the verdict on a sample.

        Raises:
            CraftError: the check has failed for every sample so far, and these are enough.
        """
        verdict, problem = self._look(sample)
        self._seen += 1
        self._failed += bool(problem)
        self._problem = problem or self._problem
        if self._seen >= ENOUGH:
            self.finish()
        return verdict

    def remember(self, sample: GeneratedSample) -> None:
        """Tell the check of a kept sample.

        Raises:
            InputError: it raises; what it remembers would no longer be what was kept.
        """
        with _telling(type(self.check), "remember a sample"):
            self.check.remember(self._shown(sample))

    def finish(self) -> None:
        """End the run if the check failed for every sample that it saw.

        Raises:
            CraftError: it did.
        """
        if self._seen and self._failed == self._seen:
            kind = type(self.check)
            mend = "Report that as a fault of craft_hf" if is_built_in(kind) else "Mend it"
            without = f", or {way}" if (way := way_without(kind)) else ""
            raise CraftError(
                f"the check {self.name} failed for every sample that it saw ({self._seen}): {self._problem}. "
                f"{mend}{without}; answers are in the journal and not paid for again."
            )

    def _look(self, sample: GeneratedSample) -> tuple[Verdict, str]:
        """Return the verdict, and the error with its place where there is one."""
        try:
            if self._alone:
                self.check.prepare([self._shown(sample)])
            found = self.check.check(self._shown(sample))
            score = found.score if isinstance(found, Verdict) else None
            if type(score) not in (float, type(None)) and isinstance(score, SupportsFloat):
                found = replace(found, score=float(score))
            if expected := _expected(found, self.name):
                problem = _line(f"returned {found!r}, expected {expected}")
                return self._dropped(problem), f"{place_of(type(self.check))}: {problem}"
            return found, ""
        except CraftError:
            raise
        except Exception as e:  # noqa: BLE001 (whatever a user's check raises)
            return self._dropped(_error(e)), _told(type(self.check), e)

    def _shown(self, sample: GeneratedSample) -> GeneratedSample:
        """Return what the check sees of a sample, each time the same object."""
        if self._copies is None:
            return sample
        if (copy := self._copies.get(sample)) is None:
            copy = self._copies[sample] = replace(sample, fields=deepcopy(dict(sample.fields)))
        return copy

    def _dropped(self, problem: str) -> Verdict:
        return Verdict(self.name, False, f"failed: {problem}")


def guarded_check(kind: type[Check], context: CheckContext) -> GuardedCheck | None:
    """Make a check for a run; None if it does not apply.

    Raises:
        InputError: it raises.
    """
    with _telling(kind, "say whether it applies"):
        if not kind.applies(context):
            return None
    with _telling(kind, "be made"):
        return GuardedCheck(kind(context))


def limits_for(task: Task) -> dict[str, Limit]:
    """Return by name what of the score decides, for the checks of a task that have such a limit.

    Raises:
        InputError: a check raises, or gives something else.
    """
    found = {}
    for kind in checks_for(task):
        with _telling(kind, "say its limit"):
            limit = kind.limit(task)
            if limit is None:
                continue
            if not (isinstance(limit, Limit) and math.isfinite(limit.threshold) and math.isfinite(limit.near)):
                raise TypeError(f"limit returned {limit!r}, expected a Limit of finite numbers, or None")
            found[kind.name] = limit
    return found


def summaries_for(task: Task, verdicts: Iterable[Verdict]) -> dict[str, str]:
    """Return by name what the checks of a task say of what they measured, in a sentence each.

    A check that raises, or gives something else, costs its sentence and not the run, which is at its end.

    Args:
        task: whose checks were made.
        verdicts: all verdicts on the samples that were kept.
    """
    silent = vars(Check)["summary"]  # of most checks, whose verdicts need not be kept
    kinds = [kind for kind in checks_for(task) if inspect.getattr_static(kind, "summary") is not silent]
    by_check: dict[str, list[Verdict]] = {kind.name: [] for kind in kinds}
    for verdict in verdicts:
        if verdict.keep and verdict.check in by_check:  # people may put back what a check dropped
            by_check[verdict.check].append(verdict)
    found = {kind.name: _summary(kind, by_check[kind.name]) for kind in kinds if by_check[kind.name]}
    return {name: sentence for name, sentence in found.items() if sentence}


def _summary(kind: type[Check], verdicts: Sequence[Verdict]) -> str:
    try:
        sentence = kind.summary(verdicts)
        if not isinstance(sentence, str) or unwritable(sentence):
            raise TypeError(f"summary returned {sentence!r}, expected a text")
    except Exception as e:  # noqa: BLE001 (whatever a user's check raises)
        return f"Not told, for the check failed: {_error(e)}"
    return sentence


@contextmanager
def _telling(kind: type[Check], doing: str) -> Iterator[None]:
    """Tell the user of whatever a check raises."""
    try:
        yield
    except CraftError:
        raise
    except Exception as e:  # (whatever a user's check raises)
        raise InputError(f"the check {kind.name} cannot {doing}: {_told(kind, e)}; mend it.") from e


def _told(kind: type[Check], error: Exception) -> str:
    """Return the file of a check with the line that raised, and the error."""
    place = place_of(kind)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == place]
    return f"{place}{f', line {lines[-1]}' if lines else ''}: {_error(error)}"


def _expected(found: object, name: str) -> str:
    """Say what a check was to return instead of what it did; "" for a verdict that rows and rejects can hold."""
    if not (isinstance(found, Verdict) and found.check == name and isinstance(found.keep, bool)):
        return "self.keep(...) or self.drop(...)"
    if any(not isinstance(text, str) or unwritable(text) for text in (found.reason, found.partner)):
        return "texts as reason, remark and partner"
    if not found.keep and not found.reason.strip():
        return "a reason to drop"
    finite = found.score is None or (isinstance(found.score, float) and math.isfinite(found.score))
    return "" if finite else "a finite number as the score, or None"


def _error(error: Exception) -> str:
    return _line(f"{type(error).__name__}: {error}")


def _line(text: str) -> str:
    """Text on one line that a dataset can hold, cut where it is long."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode("utf-8").split())
    return line if len(line) <= _MOST_CHARS else f"{line[: _MOST_CHARS - 4]} ..."
