"""One run: retrieval, generation and checks, whose samples come out one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from craft_hf.base import JSON, Activity, Answer, Embedder, Prompt, Reject, Sample
from craft_hf.dataset import Stage, read_previous_samples
from craft_hf.generation import Outcomes, Sampling, Usage, ask, open_journal, running_engines
from craft_hf.quality import LEAKAGE, PEOPLE, CheckContext, Quality, checks_for, load_test_sets
from craft_hf.retrieval import index_summary, open_index
from craft_hf.review import People
from craft_hf.run.resolution import ResolvedRun
from craft_hf.run.result import RunResult
from craft_hf.run.rounds import Rounds
from craft_hf.tasks import Task


def execute(run: ResolvedRun, fresh: bool = False) -> RunResult:
    """Do a run to its end; see `steps`."""
    result = RunResult()
    for _ in steps(run, result, fresh):
        pass
    return result


def steps(run: ResolvedRun, result: RunResult, fresh: bool = False) -> Iterator[Sample | Reject]:
    """Retrieve, generate and check until the wanted number of samples is kept or the documents run out.

    Closing the iterator ends the run; every answer that has arrived is in the journal, and nothing more is asked.

    Args:
        run: what to do.
        result: empty; what is yielded has just been added to it.
        fresh: ask the model again also where the journal has an answer.

    Yields:
        What became of each document, in the order of retrieval.

    Raises:
        CraftError: see the stages; every answer given before is in the journal.
    """
    with Activity("Loading the index"):
        index = open_index(run.settings.index)
    result.index = index_summary(index)
    wanted = run.settings.rows_wanted(run.task)
    documents = run.documents(index)
    if wanted:
        sampling = run.settings.sampling(run.task)
        with (
            open_journal(run.generator, sampling, replay=not fresh) as journal,
            _people(run) as people,
            running_engines(run.logs, run.generator, run.judge),
        ):
            with Activity("Loading the embedding model and the checks"):
                quality = open_quality(run, documents.embedder, result.usage)
            yield from Rounds(run, documents, journal, wanted, result, quality, people)
        result.coverage, result.embedder = documents.coverage(), documents.embedder
    result.funnel = _funnel(run.task, result, len(index))


def _funnel(task: Task, result: RunResult, indexed: int) -> list[Stage]:
    """Count what was left after each stage; a check or setting that dropped nothing is no stage."""
    dropped = result.dropped
    few_shot_texts = dropped[LEAKAGE]
    left = len(result.samples) + dropped.total() - few_shot_texts
    stages = [Stage("index", "documents in the index", indexed)]
    if result.coverage and result.coverage.not_selected:
        stages.append(
            Stage("selected", "of the sources and licences asked for", indexed - result.coverage.not_selected)
        )
    if result.coverage and result.coverage.passed_over:
        stages.append(
            Stage("passed_over", "passed over, their source gave its most", result.coverage.passed_over, removed=True)
        )
    stages += [
        Stage("retrieved", "retrieved", result.documents + few_shot_texts),
        Stage("few_shot_texts", "few-shot texts left out", few_shot_texts, removed=True),
        Stage("prompted", "prompted", left),
    ]
    labels = {check.name: check.label for check in checks_for(task)} | {PEOPLE: "not rejected by people"}
    for name, label in labels.items():
        left -= dropped[name]
        if dropped[name]:
            stages.append(Stage(name, label, left))
    return [*stages, Stage("kept", "kept", len(result.samples))]


@contextmanager
def _people(run: ResolvedRun) -> Iterator[People | None]:
    """Open the run's review, if it has one."""
    if run.settings.review is None:
        yield None
        return
    with closing(People(Path(run.settings.review), run.task, run.decisions)) as people:
        yield people


def open_quality(run: ResolvedRun, embedder: Embedder, usage: Usage, judged: bool = True) -> Quality:
    """Return the checks of a run; the judge's answers come from its journal, and are counted in `usage`."""
    settings, generator = run.settings, run.judge
    outcomes = Outcomes(settings.max_failed)

    def ask_judge(
        prompts: Sequence[Prompt], schema: Mapping[str, JSON], sampling: Sampling
    ) -> Iterator[tuple[Prompt, Answer]]:
        assert generator is not None
        with open_journal(generator, sampling) as journal:
            yield from ask(generator, schema, sampling, prompts, journal, usage, lambda: True, outcomes)

    context = CheckContext(
        run.task,
        embedder,
        duplicate_threshold=settings.duplicate_threshold,
        duplicates_by=settings.duplicates_by,
        test_sets=lambda: load_test_sets(settings.test_set_names(run.task), settings.test_sets is not None),
        earlier=read_previous_samples(settings.earlier_folders, run.task),
        ask=ask_judge if generator is not None and judged else None,
        judge_draws=settings.judge_draws,
        seed=settings.seed,
    )
    return Quality(context, settings.skipped)
