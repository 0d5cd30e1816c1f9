"""What a run is: `RunSettings` come in, a `ResolvedRun` with the identity that decides its rows goes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from craft_hf.base import JSON, InputError, cache_folder, fingerprint
from craft_hf.dataset import earlier_identity, task_features
from craft_hf.generation import Generator, default_prefix_groups
from craft_hf.quality import broken_rule, identity_of_packages, identity_of_test_sets, require_optional
from craft_hf.retrieval import RANDOM, Documents, Index, find_index, sample_index_identity
from craft_hf.review import Decision, read_review
from craft_hf.run.settings import SAME_MODEL, Resources, RunSettings
from craft_hf.tasks import Task, load_task

PIPELINE_VERSION = 3
"""Raised whenever the same settings would give other rows, so that nothing stale comes from a cache."""

AT_ONCE = 16
"""Prompts that a run with a review asks at a time, at least."""


@dataclass(frozen=True)
class ResolvedRun:
    """Settings with everything looked up that their identity needs; cheap: no model is loaded, no index is built.

    `at_once` prompts keep the generator busy: a run with a review asks for no more at a time. `decisions` are those of
    the review.
    """

    settings: RunSettings
    task: Task
    generator: Generator
    identity: Mapping[str, JSON]
    judge: Generator | None = None
    at_once: int = AT_ONCE
    decisions: tuple[Decision, ...] = ()

    @property
    def run_id(self) -> str:
        """Name of the run: the task and a hash of its identity."""
        return f"{self.task.name}-{fingerprint(self.identity)}"

    @property
    def folder(self) -> Path:
        """Where rows, rejects, report and card of the run lie; laid out as a Hub dataset repository."""
        return cache_folder() / "runs" / self.run_id

    def documents(self, index: Index) -> Documents:
        """Return the documents of an index in the order in which the run uses them."""
        settings = self.settings
        seed = settings.seed if settings.retrieval == RANDOM else None
        return Documents(self.task, index, settings.min_similarity, seed)


def resolve(settings: RunSettings, resources: Resources | None = None) -> ResolvedRun:
    """Look up task, index and generator of a run, and from them its identity.

    Args:
        settings: what was asked for.
        resources: with what to do it; changes no identity.

    Raises:
        InputError: task, index or generator do not exist or are broken.
        GeneratorError: the server cannot say which model it has.
        HubError: the index is on the Hub, which cannot be reached, and not in its cache.
    """
    task = load_task(settings.task, settings.few_shots)
    task_features(task)
    _check_few_shots(task)
    require_optional(task, settings.skipped)
    generator = open_generator(settings.generator, settings.generator_model, resources)
    judge = _judge(settings, task, generator, resources)
    wanted = settings.rows_wanted(task)
    if settings.index is None:
        index = sample_index_identity()
    else:
        name, info = find_index(settings.index)
        settings, index = replace(settings, index=name), info.fingerprint  # the Hub may get another one meanwhile
    identity: dict[str, JSON] = {
        "pipeline": PIPELINE_VERSION,
        "task": task.fingerprint,
        "index": index,
        "generator": dict(generator.identity) if wanted else {},
        "sampling": asdict(settings.sampling(task)) if wanted else {},
        "num_samples": wanted,
        "seed": settings.seed,
        "duplicate_threshold": settings.duplicate_threshold,
        "prefix_groups": settings.prefix_groups or default_prefix_groups(task),
        "retrieval": settings.retrieval,
        "min_similarity": settings.min_similarity,
        "budget": asdict(settings.budget) if settings.max_budget else None,
        "skip_checks": sorted(settings.skipped),
        "checks_of_packages": identity_of_packages(settings.skipped),
        "test_sets": identity_of_test_sets(settings.test_set_names(task)) if wanted else [],
        "earlier": earlier_identity(settings.earlier_folders) if wanted else [],
        "judge": {"draws": settings.judge_draws, **judge.identity} if judge and wanted else None,
    }
    decisions: tuple[Decision, ...] = ()
    if settings.review is not None:
        decisions, identity["review"] = read_review(settings.review, task)
    at_once = _at_once(settings, resources or Resources())
    return ResolvedRun(settings, task, generator, identity, judge, at_once, decisions)


def _at_once(settings: RunSettings, resources: Resources) -> int:
    if settings.is_server:
        return max(AT_ONCE, resources.concurrency)
    return resources.batch_size or AT_ONCE


def _check_few_shots(task: Task) -> None:
    """Refuse few-shots that the task's own rules would drop: the model would copy what is wrong with them."""
    for number, shot in enumerate(task.few_shots, 1):
        if reason := broken_rule(task, shot.sample):
            raise InputError(f"few-shot {number} ({shot.id}) of {task.name} breaks a rule of the task: {reason}.")


def _judge(settings: RunSettings, task: Task, generator: Generator, resources: Resources | None) -> Generator | None:
    if settings.judge is None:
        return None
    if not task.rubric and not task.multiple_choice:
        raise InputError(f"task {task.name} has neither options to answer by nor a rubric, so judge= has no measure.")
    if settings.judge == SAME_MODEL:
        return generator
    return open_generator(settings.judge, settings.judge_model, resources)


def open_generator(name: str, model: str | None = None, resources: Resources | None = None) -> Generator:
    """Return the generator of a name; only what it needs is imported, and no model is loaded yet.

    Args:
        name: "embedded", a Hub id, a model folder, or the URL of a server; several URLs are separated by commas.
        model: its name on the server.
        resources: with what it works.

    Raises:
        InputError: there is no such model.
        GeneratorError: the server cannot say which model it has.
    """
    resources = resources or Resources()
    if "://" in name:
        from craft_hf.generation import ServerGenerator

        return ServerGenerator(
            name,
            model,
            concurrency=resources.concurrency,
            timeout_s=resources.timeout_s,
            max_retries=resources.max_retries,
        )
    from craft_hf.generation import LocalGenerator

    return LocalGenerator(name, device=resources.device, batch_size=resources.batch_size)
