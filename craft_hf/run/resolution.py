"""Look up what the settings of a run name, and work out the identity that decides its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from craft_hf.base import JSON, InputError, cache_folder, fingerprint
from craft_hf.dataset import fingerprint_previous
from craft_hf.generation import Generator, default_prefix_groups, names_engine
from craft_hf.quality import broken_rule, identity_of_packages, identity_of_test_sets, require_optional
from craft_hf.retrieval import Documents, Index, find_index, sample_index_identity
from craft_hf.review import Decision, read_review
from craft_hf.run.settings import SAME_MODEL, SETTINGS, RunSettings, names_server
from craft_hf.tasks import NAMES, Task, load_task

PIPELINE_VERSION = 7
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
    def logs(self) -> Path:
        """Folder beside the run's, for what engines print that are started for it."""
        return self.folder.with_name(f"{self.run_id}.engine")

    @property
    def folder(self) -> Path:
        """Where rows, rejects, report and card of the run lie; laid out as a Hub dataset repository."""
        return cache_folder() / "runs" / self.run_id

    def documents(self, index: Index) -> Documents:
        """Return the documents of an index in the order in which the run uses them."""
        return open_documents(self.settings, self.task, index)


def open_documents(settings: RunSettings, task: Task, index: Index) -> Documents:
    """Return the documents of an index in the order in which a run with these settings uses them."""
    return Documents(
        task,
        index,
        settings.min_similarity,
        settings.retrieval_seed,
        settings.sources or (),
        settings.licenses or (),
        settings.most_per_source,
        settings.query_form,
        settings.embedding or "",
    )


def resolve(settings: RunSettings) -> ResolvedRun:
    """Look up task, index and generator of a run, and from them its identity.

    Raises:
        InputError: task, index or generator do not exist or are broken.
        GeneratorError: the server cannot say which model it has.
        HubError: the index is on the Hub, which cannot be reached, and not in its cache.
    """
    task = load_task(settings.task, settings.few_shots)
    if settings.query is not None:
        task = replace(task, query=tuple(settings.query))
    _check_few_shots(task)
    require_optional(task, settings.skipped)
    generator = open_generator(settings.generator, settings.generator_model, settings)
    judge = _judge(settings, task, generator)
    if settings.index is None:
        index = sample_index_identity()
    else:
        name, info = find_index(settings.index)
        settings, index = replace(settings, index=name), info.fingerprint  # the Hub may get another one meanwhile
    identity: dict[str, JSON] = {
        "pipeline": PIPELINE_VERSION,
        "task": task.fingerprint,
        "index": index,
        "num_samples": settings.rows_wanted(task),
    }
    decisions: tuple[Decision, ...] = ()
    if settings.rows_wanted(task):
        if settings.review is not None:
            decisions, review = read_review(settings.review, task)
            identity["review"] = review
        identity |= {
            "generator": dict(generator.identity),
            "checks_of_packages": identity_of_packages(settings.skipped),
        }
        identity |= _rest(settings, task, judge, known=identity)
    at_once = max(AT_ONCE, settings.concurrency) if settings.is_server else settings.batch_size or AT_ONCE
    return ResolvedRun(settings, task, generator, identity, judge, at_once, decisions)


TOLD_BY_OTHERS = {
    "few_shots": "task",
    "query": "task",
    "size": "num_samples",
    "generator_model": "generator",
    "engine_command": "generator",
    "engine_arguments": "generator",
    "judge_model": "judge",
    "judge_draws": "judge",
    "price_in": "max_budget",
    "price_out": "max_budget",
}
"""Settings that have no entry of their own in a run's identity, and the entry that changes with them."""


def _rest(settings: RunSettings, task: Task, judge: Generator | None, known: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the entries of an identity for all settings that decide rows and are not `known` yet.

    A setting stands for itself, unless what it names is looked up: files by their content, models by what they are.
    """
    looked_up: dict[str, JSON] = {
        "max_new_tokens": settings.sampling(task).max_new_tokens,
        "prefix_groups": settings.prefix_groups or default_prefix_groups(task),
        "skip_checks": sorted(settings.skipped),
        "sources": sorted(settings.sources or ()),
        "licenses": sorted(settings.licenses or ()),
        "test_sets": identity_of_test_sets(settings.test_set_names(task)),
        "earlier": fingerprint_previous(settings.earlier_folders),
        "judge": {"draws": settings.judge_draws, **judge.identity} if judge else None,
        "max_budget": asdict(settings.budget) if settings.max_budget else None,
        "review": None,
    }
    names = [name for name, setting in SETTINGS.items() if setting.decides_rows and name not in TOLD_BY_OTHERS]
    return {name: looked_up.get(name, getattr(settings, name)) for name in names if name not in known}


def _check_few_shots(task: Task) -> None:
    """Refuse few-shots that the task's own rules would drop: the model would copy what is wrong with them."""
    for number, shot in enumerate(task.few_shots, 1):
        if reason := broken_rule(task.of_people, shot.sample):
            raise InputError(f"few-shot {number} ({shot.id}) of {task.name} breaks a rule of the task: {reason}.")


def _judge(settings: RunSettings, task: Task, generator: Generator) -> Generator | None:
    if settings.judge is None:
        return None
    if not task.rubric and not task.multiple_choice:
        raise InputError(f"task {task.name} has neither options to answer by nor a rubric, so judge= has no measure.")
    if settings.judge == SAME_MODEL:
        return generator
    if names_engine(settings.generator) and names_engine(settings.judge):
        if (settings.judge, settings.judge_model) == (settings.generator, settings.generator_model):
            return generator
        raise InputError(
            f"judge is {settings.judge!r} and generator {settings.generator!r}: two engines would want the same GPUs. "
            'Give judge="generator", or the URL of a server.'
        )
    return open_generator(settings.judge, settings.judge_model, settings)


def open_generator(name: str, model: str | None = None, settings: RunSettings | None = None) -> Generator:
    """Return the generator of a name; only what it needs is imported, and no model is loaded yet.

    Args:
        name: "embedded", a Hub id, a model folder, the URL of a server (several are separated by commas), or an engine
            with its model, such as "vllm:user/name".
        model: its name on the server.
        settings: how many requests or answers at a time, time-outs, device; the defaults by default.

    Raises:
        InputError: there is no such model.
        GeneratorError: the server cannot say which model it has.
    """
    limits = settings or RunSettings(NAMES[0])
    if names_engine(name):
        from craft_hf.generation import EngineGenerator

        return EngineGenerator(
            name,
            limits.engine,
            model,
            concurrency=limits.concurrency,
            timeout_s=limits.timeout_s,
            max_retries=limits.max_retries,
        )
    if names_server(name):
        from craft_hf.generation import ServerGenerator

        return ServerGenerator(
            name,
            model,
            concurrency=limits.concurrency,
            timeout_s=limits.timeout_s,
            max_retries=limits.max_retries,
        )
    from craft_hf.generation import LocalGenerator

    return LocalGenerator(name, device=limits.device, batch_size=limits.batch_size)
