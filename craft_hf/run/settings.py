"""What a run is asked for: plain values come in, checked `RunSettings` and `Resources` go out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from craft_hf.base import EMBEDDED, InputError
from craft_hf.generation import PER_PROMPT, Budget, Prices, Sampling
from craft_hf.quality import DUPLICATE_THRESHOLD
from craft_hf.retrieval import MIXED, RETRIEVAL_METHODS
from craft_hf.tasks import Task

SIZES: Mapping[str, int] = {"XS": 0, "S": 100, "M": 500, "L": 5_000, "XL": 25_000}
"""Rows of CRAFT's published datasets, few-shots included; XS is the few-shots alone."""

DEFAULT_NUM_SAMPLES = 10

SAME_MODEL = "generator"
"""Value of `judge` for the run's own generator."""


@dataclass(frozen=True)
class RunSettings:
    """Everything that decides which rows a run gives, and nothing else.

    Args:
        task: name of a shipped task, or the folder of an own one.
        few_shots: a JSONL file to use in place of the task's few-shots.
        index: folder of an index, or "user/name" or "user/name@revision" on the Hub; the sample corpus by default.
        generator: "embedded", a Hub id, a model folder, or the URL of an OpenAI-compatible server; several of them,
            which share the prompts, are separated by commas.
        generator_model: the model's name on the servers; may be left out if they have only one.
        num_samples: generated rows to keep, 1 or more; the few-shots come on top.
        size: S, M, L or XL in place of `num_samples`: rows in all, few-shots included, as in CRAFT's datasets.
        seed: draws the few-shots of the prompts and the tokens of the local generator.
        temperature: 0 takes the likeliest token.
        top_p: probability mass to draw from, in (0, 1].
        top_k: number of likeliest tokens to draw from; 0 for all.
        max_new_tokens: limit of an answer, in tokens; the task's by default.
        duplicate_threshold: token-set ratio, 0 to 100, from which a sample counts as a duplicate.
        prefix_groups: how many triples of few-shots the prompts begin with, 1 or more, by default as many as it takes
            to show every few-shot; or "per-prompt" to draw the few-shots of every prompt apart, as CRAFT does, which
            takes longer.
        retrieval: "mixed" for documents near the few-shots, as CRAFT; "random" draws them from all of the index by
            `seed`, to see what retrieval is worth.
        min_similarity: least similarity, -1 to 1, of a document that is used; by default any.
        max_budget: the most that the run may cost, in tokens read and written, or in money if there are prices. It
            ends with what it has kept then; answers in flight are still taken.
        price_in: price of a million tokens that the model reads.
        price_out: price of a million tokens that the model writes.
        skip_checks: names of checks that are not made, separated by commas: repetitive, language, copied,
            contaminated, grounded, semantic, and the task's own.
        test_sets: JSONL files, or Hub datasets as REPO@REVISION:CONFIG:SPLIT, separated by commas, whose items no row
            may be taken from. By default those of the task, as far as the Hub can be reached.
        earlier: folders of datasets, separated by commas, whose rows no row may repeat.
        judge: a model that is asked about every sample, "generator" for the same one or as `generator` is given;
            by default none, for it costs calls.
        judge_model: the judge's name on the servers.
        judge_draws: how often the judge is asked, 1 or more; the majority decides.
        review: file of what people decided, or decide while the run goes on (`craft-hf review`): rows that they reject
            are replaced, edited ones taken as edited, promoted ones shown to the model. Made if it is not there.

    Raises:
        InputError: a value is out of range, or two contradict each other.
    """

    task: str
    few_shots: str | None = None
    index: str | None = None
    generator: str = EMBEDDED
    generator_model: str | None = None
    num_samples: int | None = None
    size: str | None = None
    seed: int = 0
    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 40
    max_new_tokens: int | None = None
    duplicate_threshold: float = DUPLICATE_THRESHOLD
    prefix_groups: int | str | None = None
    retrieval: str = MIXED
    min_similarity: float = -1.0
    max_budget: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0
    skip_checks: str | None = None
    test_sets: str | None = None
    earlier: str | None = None
    judge: str | None = None
    judge_model: str | None = None
    judge_draws: int = 1
    review: str | None = None

    def __post_init__(self) -> None:
        for name in ("task", "few_shots", "index", "generator", "earlier", "judge", "review"):  # paths are welcome
            if getattr(self, name) is not None:
                object.__setattr__(self, name, str(getattr(self, name)))
        numbers = ["temperature", "top_p", "duplicate_threshold", "min_similarity", "price_in", "price_out"]
        if self.max_budget is not None:
            numbers.append("max_budget")
        for name in numbers:  # 1 and 1.0 are the same run
            try:
                object.__setattr__(self, name, float(getattr(self, name)))
            except (TypeError, ValueError):
                raise InputError(f"{name} is {getattr(self, name)!r}, expected a number.") from None
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise InputError(f"seed is {self.seed!r}, expected a whole number.")
        if self.size is not None and self.num_samples is not None:
            raise InputError(
                f"num_samples={self.num_samples} and size={self.size!r} were both given; give one of them."
            )
        if self.size is not None and self.size not in SIZES:
            raise InputError(f"size is {self.size!r}, expected one of {', '.join(SIZES)}.")
        whole = {
            "num_samples": (self.num_samples, 1),
            "max_new_tokens": (self.max_new_tokens, 1),
            "top_k": (self.top_k, 0),
            "judge_draws": (self.judge_draws, 1),
        }
        for name, (value, least) in whole.items():
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise InputError(f"{name} is {value!r}, expected a whole number of at least {least}.")
        ranges = {
            "temperature": (self.temperature, 0, 5),
            "duplicate_threshold": (self.duplicate_threshold, 0, 100),
            "min_similarity": (self.min_similarity, -1, 1),
            "price_in": (self.price_in, 0, 1e6),
            "price_out": (self.price_out, 0, 1e6),
        }
        for name, (number, low, high) in ranges.items():
            if not low <= number <= high:
                raise InputError(f"{name} is {number!r}, expected a number from {low} to {high:g}.")
        if self.max_budget is not None and not 0 < self.max_budget < math.inf:
            raise InputError(f"max_budget is {self.max_budget!r}, expected tokens, or money, above 0.")
        if self.retrieval not in RETRIEVAL_METHODS:
            raise InputError(f"retrieval is {self.retrieval!r}, expected one of {', '.join(RETRIEVAL_METHODS)}.")
        groups = self.prefix_groups
        if isinstance(groups, str) and groups.isdecimal():
            groups = int(groups)
            object.__setattr__(self, "prefix_groups", groups)
        if groups not in (None, PER_PROMPT) and (not isinstance(groups, int) or isinstance(groups, bool) or groups < 1):
            raise InputError(f"prefix_groups is {groups!r}, expected a whole number of at least 1, or {PER_PROMPT!r}.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p!r}, expected a number above 0 and up to 1.")

    @property
    def skipped(self) -> tuple[str, ...]:
        """The checks that are not made."""
        return _listed(self.skip_checks)

    @property
    def earlier_folders(self) -> tuple[str, ...]:
        """The datasets whose rows no row may repeat."""
        return _listed(self.earlier)

    def test_set_names(self, task: Task) -> tuple[str, ...]:
        """Return the test sets to look for: those given, or the task's."""
        return task.test_sets if self.test_sets is None else _listed(self.test_sets)

    @property
    def is_server(self) -> bool:
        """Whether the generator is a URL."""
        return "://" in self.generator

    @property
    def budget(self) -> Budget:
        """What the run may cost."""
        return Budget(self.max_budget, Prices(self.price_in, self.price_out))

    def rows_wanted(self, task: Task) -> int:
        """Return how many generated rows to keep."""
        if self.size is not None:
            return max(0, SIZES[self.size] - len(task.few_shots))
        return self.num_samples if self.num_samples is not None else DEFAULT_NUM_SAMPLES

    def sampling(self, task: Task) -> Sampling:
        """Return how tokens are drawn."""
        limit = self.max_new_tokens or task.max_new_tokens
        return Sampling(self.temperature, self.top_p, self.top_k, limit, self.seed)


@dataclass(frozen=True)
class Resources:
    """With what a run is done; none of it decides which rows come out.

    Args:
        batch_size: answers that a local generator decodes at a time; by default 16 on a CPU, 128 on a GPU.
        device: torch device of a local generator; by default CUDA where there is one, else the CPU.
        concurrency: requests in flight at a time, at most; what a server can bear is found out.
        timeout_s: seconds that one request may take.
        max_retries: how often a failed request is sent again.

    Raises:
        InputError: a number is out of range.
    """

    batch_size: int | None = None
    device: str | None = None
    concurrency: int = 64
    timeout_s: float = 120.0
    max_retries: int = 4

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("concurrency", 1), ("max_retries", 0)):
            value = getattr(self, name)
            if name == "batch_size" and value is None:
                continue
            if not isinstance(value, int) or value < least:
                raise InputError(f"{name} is {value!r}, expected a whole number of at least {least}.")
        if not self.timeout_s > 0:
            raise InputError(f"timeout_s is {self.timeout_s!r}, expected seconds above 0.")


def _listed(text: str | None) -> tuple[str, ...]:
    """Split at commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())
