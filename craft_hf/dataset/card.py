"""The dataset card, a README.md for the Hub that names no local path and no private address once it is published."""

from __future__ import annotations

import ipaddress
import itertools
import json
import re
import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import yaml
from huggingface_hub import DatasetCardData

from craft_hf.base import JSON, NOT_MEASURED, InputError, render
from craft_hf.dataset.funnel import funnel_shares
from craft_hf.dataset.layout import PARQUET_FILES, REJECTS, ROWS
from craft_hf.dataset.licenses import combined_license
from craft_hf.dataset.report import Row, RunReport
from craft_hf.dataset.rows import is_few_shot
from craft_hf.generation import parse_engine
from craft_hf.tasks import TRAINING_COLUMNS

_PRIVATE = re.compile(r"\[local (?:path|address)\]")
"""What `public` writes in the place of names of this machine."""

_SHOWN_CHARS = 600
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_PLOTS = {
    "funnel": "Bars: the number of documents at each stage",
    "similarity": "Histogram: cosine similarity of the documents to the few-shots",
    "answers": "Bars: how often each answer is the right one",
    "nearest": "Histograms: cosine similarity of each row to the nearest other row, and to the nearest few-shot",
    "map": "Map: rows, documents and few-shots in two dimensions",
}

_PATH = re.compile(
    r"file:\S*|(?<![\w.:/\\])(?:~|\.{1,2})?/[\w.~][^\s'\"<>|,;]*|\b[A-Za-z]:[\\/][^\s'\"<>|,;]*|\\\\\w\S*"
)
_OPTION = re.compile(r"\s--?[A-Za-z]")
"""What a command has that begins with the path of a program; a path with blanks alone has none."""

_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>|,;]+|\blocalhost(?::\d+)?\b|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
)


@dataclass(frozen=True)
class CardConfig:
    """A configuration of a dataset repository: its name, the folder of its files, and how many rows it has."""

    name: str
    folder: str
    rows: int

    @property
    def data_files(self) -> str:
        """The pattern of its files."""
        return f"{self.folder}/{PARQUET_FILES}"


def dataset_card(
    report: RunReport,
    rows: Sequence[Row],
    configs: Sequence[CardConfig] = (),
    repo_id: str = "user/name",
    plots: Sequence[str] = (),
) -> str:
    """Render the card of a dataset: YAML front matter for the Hub, and Markdown for people.

    Args:
        report: what happened in the run.
        rows: the dataset's rows: the task's fields and the lineage.
        configs: further configurations of the repository, beside "default" and "rejected".
        repo_id: the repository that the card is for.
        plots: which of the report's plots lie in the folder of plots, by name.
    """
    license = combined_license(str(redact_locations(source.get("license")) or "") for source in report.sources)
    made_by = sorted({str(row["generator"]) for row in rows if row.get("generator")})
    shown = list(itertools.islice((row for row in rows if not is_few_shot(row)), 2)) or rows[:2]
    names = [str(pair[0]) for pair in _pairs(report.about["fields"])]
    every = [CardConfig("default", ROWS, report.rows["rows"]), *configs]
    if report.rows["rejected"]:
        every.append(CardConfig("rejected", REJECTS, report.rows["rejected"]))
    body = render(
        "dataset_card.md.j2",
        report=report,
        safe=redact_locations,
        repo_id=repo_id,
        configs=every,
        one_row=_as_text(shown[0]) if shown else "",
        examples=_examples(shown, names),
        generators=[str(redact_locations(name)) for name in made_by],
        shares=funnel_shares(report.funnel),
        license=license,
        limits=limits_of(report.task, judged="judge" in report.measured, shuffled=bool(report.balance)),
        plots=[(name, about) for name, about in _PLOTS.items() if name in plots],
        prompt=_prompt(report),
        repeat=_repeat(report),
        identity_yaml=_yaml(redact_locations(report.identity)),
    )
    return f"---\n{_front_matter(report, license.id, every).to_yaml()}\n---\n\n{body}"


def _yaml(value: JSON) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100).strip()


def redact_locations(value: JSON) -> JSON:
    """Return data without local paths and addresses of private hosts, at any depth."""
    if isinstance(value, str):
        if value.lstrip("'\"").startswith(("/", "~", "\\\\", "file:")):
            words = _command_words(value) if _OPTION.search(value) else []
            return " ".join(str(redact_locations(word)) for word in words) or "[local path]"
        if (engine := parse_engine(value)) and engine.model.startswith(("/", "~")):
            return str(engine._replace(model="[local path]"))
        return _PATH.sub("[local path]", _ADDRESS.sub(_public_address, value))
    if isinstance(value, Mapping):
        return {str(redact_locations(key)): redact_locations(item) for key, item in value.items()}
    return [redact_locations(item) for item in value] if isinstance(value, Sequence) else value


def _command_words(text: str) -> list[str]:
    """Return the words of a command line; none if it is not one."""
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    return words if len(words) > 1 else []


def _public_address(match: re.Match[str]) -> str:
    address = match.group()
    if address.startswith("file:"):
        return "[local path]"
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host = parts.hostname or ""
    except ValueError:
        return "[local address]"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        private = "." not in host or host.endswith((".local", ".internal", ".lan", ".home", ".corp", ".localhost"))
        return "[local address]" if private or parts.username else address
    return "[local address]"


def _front_matter(report: RunReport, license_id: str, configs: Sequence[CardConfig]) -> DatasetCardData:
    """Return the card's front matter, the metadata that the Hub reads; keys without a value are left out."""
    count = report.rows["rows"]
    corpora = report.index.get("corpora")
    described = [c for c in corpora if isinstance(c, Mapping)] if isinstance(corpora, Sequence) else []
    known = [str(c["hub_id"]) for c in described if c.get("hub_id")]
    categories = report.about["categories"]
    card = DatasetCardData(
        pretty_name=f"CRAFT {report.task}",
        language=[str(report.about["language"])],
        license=license_id,
        annotations_creators=["machine-generated"],
        language_creators=["machine-generated", "found"],
        multilinguality=["monolingual"],
        task_categories=[str(c) for c in categories] if isinstance(categories, Sequence) else None,
        size_categories=[next((name for limit, name in _SIZES if count < limit), "1M<n<10M")],
        source_datasets=known or None,
        tags=["synthetic", "craft"],
        configs=[
            {"config_name": c.name, "data_files": c.data_files, **({"default": True} if c.name == "default" else {})}
            for c in configs
        ],
    )
    if license_id == "other":
        card["license_name"] = "see-card"
    return card


def _as_text(row: Row) -> str:
    """Return the turns of a row as they are read, and where it is from; "" for a row without turns."""
    turns = [turn for name in TRAINING_COLUMNS for turn in _pairs_of_turn(row.get(name))]
    if not turns:
        return ""
    said = [f"{role}:\n{_cut(text)}" for role, text in turns]
    origin = [str(redact_locations(row.get(name)) or "") for name in ("title", "source", "license")]
    return "\n\n".join([*said, f"(from: {', '.join(filter(None, origin)) or 'not stated'})"])


def _pairs_of_turn(turns: JSON) -> list[tuple[str, str]]:
    found = turns if isinstance(turns, Sequence) and not isinstance(turns, str) else []
    return [(str(turn["role"]), str(turn["content"])) for turn in found if isinstance(turn, Mapping)]


def _examples(rows: Sequence[Row], fields: Sequence[str]) -> list[Row]:
    """Return rows as examples for the card: the first with its lineage, the others without."""
    shown = [_example(row, fields) for row in rows]
    return [*shown[:1], *({name: row[name] for name in fields if name in row} for row in shown[1:])]


def _example(row: Row, fields: Iterable[str]) -> Row:
    """Return a row as an example: long texts are cut, local paths in the lineage removed."""
    texts = {*fields, "document"}
    return {name: _cut(value) if name in texts else redact_locations(value) for name, value in row.items()}


def _cut(value: JSON) -> JSON:
    if isinstance(value, str) and len(value) > _SHOWN_CHARS:
        return f"{value[:_SHOWN_CHARS]} ... ({len(value) - _SHOWN_CHARS:,} characters more)"
    return value


def _pairs(value: JSON) -> list[Sequence[JSON]]:
    return [pair for pair in value if isinstance(pair, Sequence)] if isinstance(value, Sequence) else []


def _prompt(report: RunReport) -> str:
    """Return the chat turns of a prompt, with placeholders in brackets for what differs between prompts."""
    asked = report.about.get("instructions")
    texts = [str(redact_locations(text)) for text in asked] if isinstance(asked, Sequence) else [NOT_MEASURED]
    texts = [textwrap.fill(" ".join(text.split()), 100, break_long_words=False) for text in texts]
    lines = ["user: [INSTRUCTION]\n\nText:\n[text of a few-shot]", "model: [its sample, as JSON]"]
    lines += ["(two more few-shots in the same way)", "user: [INSTRUCTION]\n\nText:\n[the document]"]
    return "\n\n".join(["\n".join(f"[INSTRUCTION] = {text}" for text in texts), *lines])


def _repeat(report: RunReport) -> str:
    """Return the call that asks for the same run; of a published report without what names a place on a machine."""
    values = {"task": report.task, **report.settings}
    private = [name for name, value in values.items() if _PRIVATE.search(json.dumps(value))]
    arguments = ", ".join(f"{name}={value!r}" for name, value in values.items() if name not in private)
    note = f"  # and {', '.join(private)}, which named places on the machine of the run" if private else ""
    return f'import craft_hf\nfrom datasets import load_dataset\n\nload_dataset("craft", {arguments}){note}'


def limits_of(task: str, judged: bool = False, shuffled: bool = False) -> str:
    """Return the limits and risks of a shipped task from its template; "" for all other tasks.

    Args:
        task: its name.
        judged: whether a judge model has answered, or looked at, the samples.
        shuffled: whether options were shuffled so that every label is right equally often.
    """
    try:
        return render(f"tasks/{task}.md", judged=judged, shuffled=shuffled).strip()
    except InputError:
        return ""
