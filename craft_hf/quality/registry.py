"""All checks that there are for a task: those of craft_hf, of installed packages, and of the task's own checks.py."""

from __future__ import annotations

import inspect
import itertools
import pkgutil
import re
import sys
import types
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import NamedTuple

from craft_hf.base import JSON, InputError, file_fingerprint, fingerprint
from craft_hf.quality.check import Check
from craft_hf.tasks import Task

BUILT_IN = (
    "craft_hf.quality.context:ContextCheck",
    "craft_hf.quality.schema:SchemaCheck",
    "craft_hf.quality.wellformed:WellFormedCheck",
    "craft_hf.quality.repetitive:RepetitiveCheck",
    "craft_hf.quality.language:LanguageCheck",
    "craft_hf.quality.copied:CopiedCheck",
    "craft_hf.quality.contaminated:ContaminatedCheck",
    "craft_hf.quality.grounded:GroundedCheck",
    "craft_hf.quality.duplicate:DuplicateCheck",
    "craft_hf.quality.semantic:SemanticCheck",
    "craft_hf.quality.judge:JudgeCheck",
)
"""The checks of craft_hf in order: what looks at one sample alone, the cheapest first; what compares with samples kept
before; and the judge, whose answers cost most. Users' checks come before the first that compares."""

GROUP = "craft_hf.checks"
"""The entry point group by which installed packages add checks."""

LEAKAGE, SURPLUS, PEOPLE = "leakage", "surplus", "review"
"""What stands in the place of a check's name: for documents that are nearly a few-shot's text, for samples beyond the
number wanted, and for what people decided."""

SIMILARITY, ANY = "similarity", "any"
"""What stands in the place of a check's name: among scores for a document's similarity, and for all checks together."""

MEASURED = CONTAMINATION, HUMAN_REVIEW, PERSONAL_DATA = "contamination", "human_review", "personal_data"
"""What a report says beside the sentences of the checks."""

RESERVED = (ANY, LEAKAGE, PEOPLE, SIMILARITY, SURPLUS, *MEASURED)
"""Names that no check may have."""

_NAME = re.compile(r"[a-z][a-z0-9_-]*")


def checks_for(task: Task) -> tuple[type[Check], ...]:
    """Return the checks that a run of a task may make, in order.

    Raises:
        InputError: two have one name, checks.py cannot be run, or an entry point gives no check.
    """
    return _checks(task.checks_file, task.checks_source)


def optional_checks(task: Task) -> tuple[str, ...]:
    """Return the names of the checks that a run of a task may skip."""
    return tuple(check.name for check in checks_for(task) if check.optional)


def require_optional(task: Task, skip: Sequence[str]) -> None:
    """Refuse names of checks that cannot be skipped.

    Raises:
        InputError: there is no such check, or it is none that can be skipped.
    """
    names = optional_checks(task)
    if unknown := sorted(set(skip) - set(names)):
        raise InputError(f"skip_checks has {unknown[0]!r}, expected some of {', '.join(names)}.")


def optional_built_in() -> tuple[str, ...]:
    """Return the names of the checks of craft_hf that a run may skip."""
    return tuple(check.name for check in _built_in() if check.optional)


def identity_of_packages(skip: Sequence[str] = ()) -> list[JSON]:
    """Return what stands for checks of installed packages in a run's identity.

    That is the check's name, distribution and version, and a hash of the file that it was loaded from, which may change
    while the version stays. The checks of the task's own folder are part of the task's fingerprint.
    """
    return [[c.check.name, *c.distribution, c.source] for c in _from_packages() if c.check.name not in skip]


def is_built_in(check: type[Check]) -> bool:
    """Return whether a check is one of craft_hf."""
    return f"{check.__module__}:{check.__qualname__}" in BUILT_IN


def place_of(check: type[Check]) -> str:
    """Return the file that a check is in."""
    return getattr(sys.modules.get(check.__module__), "__file__", None) or check.__module__


def way_without(check: type[Check]) -> str:
    """Return what a user can do so that a check is not made; "" where nothing helps."""
    if check.optional:
        return f"leave it out with --skip-checks {check.name}"
    if check.option:
        return f"leave out {check.option}"
    if package := next((c.distribution[0] for c in _from_packages() if c.check is check), ""):
        return f"uninstall the package {package}"
    return "" if is_built_in(check) else f"take it out of {place_of(check)}"


@lru_cache
def _built_in() -> tuple[type[Check], ...]:
    return tuple(pkgutil.resolve_name(name) for name in BUILT_IN)


@lru_cache
def _checks(file: str, source: str) -> tuple[type[Check], ...]:
    built_in = _built_in()
    own = [c.check for c in _from_packages()] + (list(_from_source(file, source)) if source else [])
    single = itertools.takewhile(lambda check: not check.compares, built_in)
    count = len(list(single))
    found: dict[str, type[Check]] = {}
    for check in (*built_in, *own):
        if (other := found.get(check.name)) is not None:
            raise InputError(
                f"two checks are named {check.name!r}, in {place_of(other)} and in {place_of(check)}; rename one."
            )
        found[check.name] = check
    return (*built_in[:count], *own, *built_in[count:])


class _Packaged(NamedTuple):
    """A check of an installed package: name and version of its distribution, and a hash of the file it is in."""

    check: type[Check]
    distribution: list[str]
    source: str


@lru_cache
def _from_packages() -> tuple[_Packaged, ...]:
    """Load the checks of installed packages, in the order of their entry points' names."""
    found = []
    for point in sorted(entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        where = f"the entry point {point.name} = {point.value} of {' '.join(_distribution(point))}"
        try:
            check = point.load()
        except (Exception, SystemExit) as e:
            raise InputError(f"{where} cannot be loaded: {_said(e)}; mend the package, or uninstall it.") from e
        if not (isinstance(check, type) and issubclass(check, Check)):
            raise InputError(f"{where} is {check!r}, expected a subclass of craft_hf.quality.Check.")
        source = Path(place_of(check))
        hashed = file_fingerprint(source) if source.is_file() else ""
        found.append(_Packaged(_named(check, where), _distribution(point), hashed))
    return tuple(found)


def _distribution(point: EntryPoint) -> list[str]:
    return [point.dist.name, point.dist.version] if point.dist else ["", ""]


def _from_source(file: str, source: str) -> Iterator[type[Check]]:
    """Run a checks.py, and yield the checks in it, in order.

    It is run from the text that the task's fingerprint was made of, whatever the file says by now.
    """
    module = types.ModuleType(f"craft_hf_checks_{fingerprint([file, source])}")
    module.__file__ = file
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as e:  # (a script's sys.exit() is no reason to end ours without a word)
        raise InputError(f"{file} cannot be run: {_said(e)}; mend it, or take it out of the folder.") from e
    checks = [
        value for value in dict.fromkeys(v for v in vars(module).values() if isinstance(v, type))
        if issubclass(value, Check) and value.__module__ == module.__name__
        and ("name" in vars(value) or not inspect.isabstract(value))  # without a name: a base of others
    ]  # fmt: skip
    if not checks:
        raise InputError(f"{file} holds no check: expected a subclass of craft_hf.quality.Check with name and label.")
    yield from (_named(check, f"{check.__name__} in {file}") for check in checks)


def _named(check: type[Check], where: str) -> type[Check]:
    """Refuse a check that cannot be made, or whose name or label is none."""
    if missing := sorted(check.__abstractmethods__):
        raise InputError(f"{where} has no method {', '.join(missing)}; write it, or see whether its name is misspelt.")
    if not (isinstance(check.name, str) and _NAME.fullmatch(check.name)) or check.name in RESERVED:
        raise InputError(
            f"{where} has the name {check.name!r}; expected lower-case letters, digits, '_' and '-', and none of "
            f"{', '.join(RESERVED)}."
        )
    if not (isinstance(check.label, str) and check.label.strip()):
        raise InputError(
            f"{where} has no label; expected what the funnel calls samples that passed, such as 'not in capitals'."
        )
    return check


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
