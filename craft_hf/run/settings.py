"""The settings of a run, each declared once.

A field of `RunSettings` says all of a setting: name, type, default, range, help, whether it decides which rows come
out, and which commands take it. The arguments of `load_dataset`, the options of `craft-hf`, the keys of a `run.yaml`,
the run's identity, the call on the card and the table in docs/settings.md follow from these fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from craft_hf.base import EMBEDDED, JSON, InputError
from craft_hf.generation import (
    BATCH_SIZE,
    CONCURRENCY,
    LEAST_FAILED,
    MAX_CONCURRENCY,
    MAX_FAILED,
    MAX_RETRIES,
    START_S,
    TIMEOUT_S,
    Budget,
    EngineOptions,
    Prices,
    Sampling,
    names_engine,
)
from craft_hf.quality import COMPARED, DUPLICATE_THRESHOLD, VALUES
from craft_hf.run.setting import ALL_COMMANDS, Setting
from craft_hf.tasks import NAMES, QUERY_BY_PARTS, QUERY_FORMS, QUERY_PARTS, Task

SIZES: Mapping[str, int] = {"XS": 0, "S": 100, "M": 500, "L": 5_000, "XL": 25_000}
"""Rows of CRAFT's published datasets, few-shots included; XS is the few-shots alone."""

DEFAULT_NUM_SAMPLES = 10

MIXED, RANDOM = RETRIEVALS = ("mixed", "random")
"""Values of `retrieval`: documents near the few-shots, or drawn from all."""

MAX_SAMPLES_PER_DOCUMENT = 100
"""Most samples that are asked of one document."""

PER_PROMPT = "per-prompt"
"""Value of `prefix_groups` for the paper's way: few-shots drawn anew for every prompt."""

SAME_MODEL = "generator"
"""Value of `judge` for the run's own generator."""


def names_server(model: str | None) -> bool:
    """Whether a model is the URL of a server, or several of them."""
    return "://" in (model or "")


def is_served(model: str | None) -> bool:
    """Whether a model answers by HTTP: servers of somebody else, or an engine that is started for the run."""
    return names_server(model) or names_engine(model)


def _setting(default: object, help: str, **more: Any) -> Any:
    return field(default=default, metadata={"setting": Setting(help, **more)})


@dataclass(frozen=True)
class RunSettings:
    """What a run is asked for. Every value is checked; None stands for what is not given.

    A list may also be given as one text with commas, and a path as a `Path`; paths of what exists become absolute.

    Raises:
        InputError: a value is of another type or out of range, or two contradict each other.
    """

    task: str = _setting(
        None,
        f"A shipped task ({', '.join(NAMES)}), or the folder of your own.",
        place="path or name",
        words=NAMES,
        commands=ALL_COMMANDS,
    )
    few_shots: str | None = _setting(
        None,
        "JSONL file to use in place of the task's few-shots.",
        place="path",
        default_text="the task's",
        commands=ALL_COMMANDS,
    )
    index: str | None = _setting(
        None,
        "Folder of an index, or user/name or user/name@revision on the Hub.",
        place="path or name",
        default_text="the sample corpus",
        commands=ALL_COMMANDS,
    )
    embedding: str | None = _setting(
        None,
        'Where the index\'s embedding model lies: "embedded", a folder, or a Hub id; another model is refused.',
        place="path or name",
        words=(EMBEDDED,),
        decides_rows=False,
        default_text="where the index says",
        commands=ALL_COMMANDS,
    )
    generator: str = _setting(
        EMBEDDED,
        '"embedded", a Hub id, a model folder, or the URL of an OpenAI-compatible server; several URLs, separated by '
        "commas, share the prompts. vllm:MODEL, llamacpp:FILE.gguf or engine:MODEL start an engine for the run.",
        place="path or name",
        words=(EMBEDDED,),
        is_model=True,
    )
    generator_model: str | None = _setting(
        None, "The model's name on the servers.", needs="generator", needs_server=True, default_text="the only one"
    )
    engine_command: str | None = _setting(
        None,
        "Command that starts the engine of engine:MODEL, with {model}, {host}, {port}, {key} and {tensor_parallel} "
        "where these go.",
        needs_engine=True,
        default_text="none",
    )
    engine_arguments: str | None = _setting(
        None,
        'Further options of the engine\'s command, such as "--max-model-len 8192". Those about speed and memory decide '
        "no rows.",
        needs_engine=True,
        default_text="none",
    )
    engine_python: str | None = _setting(
        None,
        "Python of the environment in which the engine is installed.",
        place="path",
        needs_engine=True,
        decides_rows=False,
        default_text="that of the program on PATH",
    )
    engine_timeout_s: float = _setting(
        START_S,
        "Seconds within which a started engine must answer.",
        kind="number",
        above=0,
        needs_engine=True,
        decides_rows=False,
    )
    tensor_parallel: int = _setting(
        1,
        "GPUs of one engine; as many engines are started as there are groups of so many GPUs.",
        kind="whole",
        least=1,
        needs_engine=True,
        decides_rows=False,
    )
    trust_remote_code: bool = _setting(
        False,
        "Let the engine run code that comes with the model.",
        kind="flag",
        needs_engine=True,
        decides_rows=False,
    )
    num_samples: int | None = _setting(
        None,
        "Generated rows to keep; the few-shots come on top.",
        kind="whole",
        least=1,
        default_text=str(DEFAULT_NUM_SAMPLES),
    )
    size: str | None = _setting(
        None,
        "In place of num_samples, rows in all, few-shots included, as in CRAFT's datasets: XS (the few-shots alone), "
        "S (100), M (500), L (5,000), XL (25,000).",
        choices=tuple(SIZES),
    )
    seed: int = _setting(
        0,
        "Draws the few-shots of the prompts and the tokens of the local generator.",
        kind="whole",
        least=0,
        most=2**32 - 1,
        commands=ALL_COMMANDS,
    )
    temperature: float = _setting(Sampling.temperature, "0 takes the likeliest token.", kind="number", least=0, most=5)
    top_p: float = _setting(Sampling.top_p, "Probability mass to draw a token from.", kind="number", above=0, most=1)
    top_k: int = _setting(Sampling.top_k, "Likeliest tokens to draw from; 0 for all.", kind="whole", least=0)
    max_new_tokens: int | None = _setting(
        None, "Limit of an answer, in tokens.", kind="whole", least=1, default_text="the task's"
    )
    query: Sequence[str] | str | None = _setting(
        None,
        "Parts of a few-shot that look for documents.",
        kind="list",
        choices=QUERY_PARTS,
        default_text="the task's",
        commands=ALL_COMMANDS,
    )
    query_form: str = _setting(
        QUERY_BY_PARTS,
        'How these parts share the vector of a few-shot: "parts" gives each the same weight, and all of it counts; '
        '"whole" embeds them as one text, of which the model reads the head, as CRAFT does.',
        choices=QUERY_FORMS,
        commands=ALL_COMMANDS,
    )
    retrieval: str = _setting(
        MIXED,
        '"mixed" takes documents near the few-shots; "random" draws them by the seed, to compare with.',
        choices=RETRIEVALS,
        commands=ALL_COMMANDS,
    )
    min_similarity: float = _setting(
        -1.0,
        "Least cosine similarity of a document that is used.",
        kind="number",
        least=-1,
        most=1,
        commands=ALL_COMMANDS,
    )
    sources: Sequence[str] | str | None = _setting(
        None,
        "Sources to take documents from, as `craft-hf index info` names them; * stands for any characters.",
        kind="list",
        default_text="all",
        commands=ALL_COMMANDS,
    )
    licenses: Sequence[str] | str | None = _setting(
        None,
        'Licences of documents to take, as `craft-hf index info` names them, or "not stated"; * stands for any '
        "characters.",
        kind="list",
        default_text="all",
        commands=ALL_COMMANDS,
    )
    most_per_source: float | None = _setting(
        None,
        "Documents that one source gives at most: below 1 a share of all, such as 0.3, else a number.",
        kind="number",
        above=0,
        default_text="no limit",
        commands=ALL_COMMANDS,
    )
    prefix_groups: int | str | None = _setting(
        None,
        "Triples of few-shots that prompts begin with, each of which a model reads once; per-prompt draws the "
        "few-shots of every prompt apart, as CRAFT does, and takes longer.",
        kind="whole",
        least=1,
        words=(PER_PROMPT,),
        default_text="as many as it takes to show every few-shot",
    )
    samples_per_document: int = _setting(
        1,
        "Prompts made of each document, with other few-shots each where there are enough; near-duplicates among "
        "their "
        "samples are dropped.",
        kind="whole",
        least=1,
        most=MAX_SAMPLES_PER_DOCUMENT,
    )
    keep_reasoning: bool = _setting(
        False,
        "Keep what the model wrote before its answer, and marked as reasoning, in a column of its own "
        "(`model_reasoning`).",
        kind="flag",
    )
    prompts_per_sample: int = _setting(
        10, "Prompts, for each row wanted, after which a run gives up.", kind="whole", least=1
    )
    duplicate_threshold: float = _setting(
        DUPLICATE_THRESHOLD,
        "Token-set ratio from which a sample counts as a duplicate (CRAFT, section 3.4).",
        kind="number",
        least=0,
        most=100,
    )
    duplicates_by: str = _setting(
        VALUES,
        '"values" compares what samples say: question, texts and numbers, without names of fields, constants and '
        'labels; "json" compares their JSON, as CRAFT does.',
        choices=COMPARED,
    )
    skip_checks: Sequence[str] | str | None = _setting(
        None, "Checks that are not made (`craft-hf tasks show` lists them).", kind="list", default_text="none"
    )
    test_sets: Sequence[str] | str | None = _setting(
        None,
        "JSONL files, or Hub datasets as REPO@REVISION:CONFIG:SPLIT, whose items no row may be taken from.",
        kind="list",
        place="path or name",
        needs_check="contaminated",
        default_text="the task's, as far as the Hub can be reached",
    )
    earlier: Sequence[str] | str | None = _setting(
        None, "Folders of datasets whose rows no row may repeat.", kind="list", place="path", default_text="none"
    )
    judge: str | None = _setting(
        None,
        'A model that is asked about every sample, which costs calls: "generator" for the same one, or as the '
        "generator is given.",
        place="path or name",
        words=(SAME_MODEL, EMBEDDED),
        is_model=True,
        default_text="none",
    )
    judge_model: str | None = _setting(
        None, "The judge's name on its servers.", needs="judge", needs_server=True, default_text="the only one"
    )
    judge_draws: int = _setting(
        1, "How often the judge is asked about a sample; the majority decides.", kind="whole", least=1, needs="judge"
    )
    review: str | None = _setting(
        None,
        "File of what people decide (`craft-hf review`), also while the run goes on: rejected rows are replaced, "
        "edited ones taken as edited, promoted ones shown to the model. Made if it is not there.",
        place="path",
        default_text="none",
    )
    max_budget: float | None = _setting(
        None,
        "The most that the run may cost, in tokens read and written, or in money if there are prices. It ends with "
        "what it has kept then; answers in flight are still taken.",
        kind="number",
        above=0,
        default_text="no limit",
    )
    price_in: float = _setting(
        0.0, "Price of a million tokens that the model reads.", kind="number", least=0, most=1_000_000
    )
    price_out: float = _setting(
        0.0, "Price of a million tokens that the model writes.", kind="number", least=0, most=1_000_000
    )
    batch_size: int | None = _setting(
        None,
        "Answers that a local generator decodes at a time.",
        kind="whole",
        least=1,
        decides_rows=False,
        default_text=f"{BATCH_SIZE['cpu']} on a CPU, {BATCH_SIZE['cuda']} on a GPU",
    )
    device: str | None = _setting(
        None,
        "torch device of a local generator.",
        decides_rows=False,
        default_text="CUDA where there is one, else the CPU",
    )
    concurrency: int = _setting(
        CONCURRENCY,
        "Most requests in flight at a time; what a server can bear is found out.",
        kind="whole",
        least=1,
        most=MAX_CONCURRENCY,
        decides_rows=False,
    )
    timeout_s: float = _setting(
        TIMEOUT_S, "Seconds that one request may take.", kind="number", above=0, decides_rows=False
    )
    max_retries: int = _setting(
        MAX_RETRIES, "How often a failed request is sent again.", kind="whole", least=0, decides_rows=False
    )
    max_failed: float = _setting(
        MAX_FAILED,
        f"Share of prompts that may get no answer, because all requests for them fail, before the run ends; up to "
        f"{LEAST_FAILED} always may.",
        kind="number",
        least=0,
        most=1,
        decides_rows=False,
    )

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value is None:
                object.__setattr__(self, f.name, f.default)
            else:
                object.__setattr__(self, f.name, f.metadata["setting"].checked(f.name, value))
        if self.task is None:
            raise InputError(
                'which task? Give task as a shipped one ("bioqa"; see `craft-hf tasks list`), or a folder.'
            )
        if self.size is not None and self.num_samples is not None:
            raise InputError(
                f"num_samples={self.num_samples} and size={self.size!r} were both given; give one of them."
            )
        for name, setting in SETTINGS.items():
            if getattr(self, name) != DEFAULTS[name]:
                self._refuse_useless(name, setting)

    def _refuse_useless(self, name: str, setting: Setting) -> None:
        """Refuse a setting that does nothing without another."""
        given = f"{name} is {getattr(self, name)!r}, which does nothing"
        if setting.needs_check in self.skipped:
            raise InputError(
                f"{given} while the check {setting.needs_check!r} is skipped (skip_checks, or a preset): leave "
                f"{name} "
                f"out, or give skip_checks without {setting.needs_check!r}."
            )
        if setting.needs_engine and not (names_engine(self.generator) or names_engine(self.judge)):
            raise InputError(f"{given} without an engine as generator, such as vllm:MODEL; give both, or leave it out.")
        if not setting.needs:
            return
        other = getattr(self, setting.needs)
        if setting.needs_server and not is_served(other):
            raise InputError(f"{given} without the URL of a server as {setting.needs}; give both, or leave it out.")
        if other is None:
            raise InputError(f"{given} without {setting.needs}; give both, or leave it out.")

    @property
    def skipped(self) -> tuple[str, ...]:
        """The checks that are not made."""
        return tuple(self.skip_checks or ())

    @property
    def earlier_folders(self) -> tuple[str, ...]:
        """The datasets whose rows no row may repeat."""
        return tuple(self.earlier or ())

    def test_set_names(self, task: Task) -> tuple[str, ...]:
        """Return the test sets to look for: those given, or the task's."""
        return task.test_sets if self.test_sets is None else tuple(self.test_sets)

    @property
    def retrieval_seed(self) -> int | None:
        """The seed that draws the documents, None where they are found by similarity."""
        return self.seed if self.retrieval == RANDOM else None

    @property
    def is_server(self) -> bool:
        """Whether the generator answers many requests at a time, by HTTP."""
        return is_served(self.generator)

    @property
    def engine(self) -> EngineOptions:
        """How an engine is started."""
        return EngineOptions(
            self.engine_command,
            self.engine_python,
            self.engine_arguments,
            self.tensor_parallel,
            self.trust_remote_code,
            self.engine_timeout_s,
        )

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

    def changed(self, to_repeat: bool = False) -> dict[str, JSON]:
        """Return the settings that have another value than their default, lists as lists.

        Args:
            to_repeat: leave out those that say only how fast a run goes.
        """
        return {
            f.name: list(value) if isinstance(value := getattr(self, f.name), tuple) else value
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
            and (not to_repeat or f.metadata["setting"].decides_rows or f.metadata["setting"].place)
        }


SETTINGS: Mapping[str, Setting] = {f.name: f.metadata["setting"] for f in dataclasses.fields(RunSettings)}
"""All settings by their name, in order."""

DEFAULTS: Mapping[str, object] = {f.name: f.default for f in dataclasses.fields(RunSettings)}

ALTERNATIVES = ("num_samples", "size")
"""Settings of which one stands for the other: who gives one takes back the other from a lower layer."""


def default_text(name: str) -> str:
    """Return a setting's default in words, "" where there is none."""
    default = DEFAULTS[name]
    if isinstance(default, bool):
        return str(default).lower()
    shown = "" if default is None else f"{default:g}" if isinstance(default, float) else str(default)
    return SETTINGS[name].default_text or shown


def settings_table() -> str:
    """Return all settings as the Markdown table of docs/settings.md."""
    lines = ["| setting | default | values | what it does |", "|---|---|---|---|"]
    for name, setting in SETTINGS.items():
        values = setting.expected.replace("|", "\\|")
        note = "" if setting.decides_rows else " Decides no rows."
        lines.append(f"| `{name}` | {default_text(name)} | {values} | {setting.help}{note} |")
    return "\n".join(lines) + "\n"
