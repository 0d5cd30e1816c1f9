"""The dataset card: a `RunReport` and its rows come in, a README.md for the Hub goes out, naming no machine."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from huggingface_hub import DatasetCardData

from craft_hf.errors import InputError, StorageError
from craft_hf.markdown import render
from craft_hf.records import JSON
from craft_hf.report import Row, RunReport, funnel_shares

_SHOWN_CHARS = 600
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_HUB_VERSIONS = {  # Creative Commons licences that the Hub has an id for
    "by": ("2.0", "2.5", "3.0", "4.0"),
    "by-sa": ("3.0", "4.0"),
    "by-nc": ("2.0", "3.0", "4.0"),
    "by-nc-sa": ("2.0", "3.0", "4.0"),
}
_ALONE = ("mit", "apache-2.0", "odc-by", "odbl", "gfdl", "cdla-permissive-2.0")
_CC_WORDS = {
    "creative commons": "cc", "attribution": "by", "noncommercial": "nc", "non commercial": "nc",
    "sharealike": "sa", "share alike": "sa", "noderivatives": "nd", "noderivs": "nd", "no derivatives": "nd",
}  # fmt: skip

_PATH = re.compile(
    r"file:\S*|(?<![\w.:/\\])(?:~|\.{1,2})?/[\w.~][^\s'\"<>|,;]*|\b[A-Za-z]:[\\/][^\s'\"<>|,;]*|\\\\\w\S*"
)
_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>|,;]+|\blocalhost(?::\d+)?\b|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
)


def dataset_card(report: RunReport, rows: Sequence[Row]) -> str:
    """Render the card of a dataset: YAML front matter for the Hub, and Markdown for people.

    Args:
        report: what happened in the run.
        rows: the dataset's rows: the task's fields and the lineage.
    """
    license_id, explanation = combined_license(str(public(source.get("license")) or "") for source in report.sources)
    generated = [row for row in rows if not row.get("is_few_shot")]
    names = [str(pair[0]) for pair in _pairs(report.about["fields"])]
    body = render(
        "dataset_card.md.j2",
        report=report,
        safe=public,
        examples=[_example(row, names) for row in (generated or rows)[:1]],
        generators=sorted({str(public(row["generator"])) for row in generated if row.get("generator")}),
        shares=funnel_shares(report.funnel),
        license_id=license_id,
        license_explanation=explanation,
        limits=_limits(report.task),
        identity_yaml=yaml.safe_dump(public(report.identity), sort_keys=False, allow_unicode=True, width=100).strip(),
    )
    return f"---\n{_front_matter(report, license_id).to_yaml()}\n---\n\n{body}"


def write_card(report: RunReport, rows: Sequence[Row], folder: Path) -> None:
    """Write the dataset card as README.md into an existing folder.

    Raises:
        StorageError: the folder cannot be written.
    """
    content = dataset_card(report, rows).encode()
    try:
        (folder / "README.md").write_bytes(content)
    except OSError as e:
        raise StorageError(f"the dataset card cannot be written to {folder}: {e}") from e


def combined_license(licenses: Iterable[str]) -> tuple[str, str]:
    """Find the licence under which a dataset can be given on that holds texts under all of these; no legal advice.

    The strictest licence decides if all others allow to be joined with it: public domain, then CC BY, then CC BY-SA or
    CC BY-NC, then CC BY-NC-SA. Where they contradict each other, forbid adaptations, are unknown or not stated, the
    answer is "other".

    Returns:
        The Hub's licence id, and a sentence that says why.
    """
    stated = sorted({" ".join(text.split()) for text in licenses})
    if not stated or "" in stated or any(_class(text) == "unstated" for text in stated):
        return "other", f"Not every source states a licence (stated: {_listed([t for t in stated if t])})."
    listed = _listed(stated)
    classes = {_class(text) for text in stated}
    if len(classes) == 1 and (only := next(iter(classes))) in _ALONE:
        return only, f"All texts are under {listed}."
    kinds = {kind for kind, _ in map(_parts, classes)}
    if not kinds <= {"dedicated", "public-domain", *_HUB_VERSIONS}:
        return "other", f"No single licence of the Hub covers {listed}: each row is under its own."
    if kinds == {"dedicated"}:
        return "cc0-1.0", f"All texts were given to the public domain: {listed}."
    if kinds <= {"dedicated", "public-domain"}:
        return "other", f"All texts are in the public domain, but some perhaps not in every country: {listed}."
    if "by-sa" in kinds and kinds & {"by-nc", "by-nc-sa"}:
        return "other", f"Share-alike and non-commercial texts cannot be joined under one licence: {listed}."
    kind = next(k for k in ("by-nc-sa", "by-nc", "by-sa", "by") if k in kinds)
    versions = {v for k, v in map(_parts, classes) if k == kind}
    if "1.0" in versions and kind.endswith("sa"):
        return "other", f"Share-alike 1.0 does not allow for later versions: {listed}."
    same = len(versions) == 1 and versions <= set(_HUB_VERSIONS[kind]) and kinds <= {kind, "dedicated", "public-domain"}
    found = f"cc-{kind}-{versions.pop() if same else '4.0'}"
    mixed = "" if same else "; each row keeps its own licence and version"
    return found, f"The strictest of the sources' licences, which are {listed}{mixed}."


def public(value: JSON) -> JSON:
    """Return data without local paths and addresses of private hosts, at any depth."""
    if isinstance(value, str):
        if value.startswith(("/", "~", "\\\\", "file:")):
            return "[local path]"
        return _PATH.sub("[local path]", _ADDRESS.sub(_public_address, value))
    if isinstance(value, Mapping):
        return {str(public(key)): public(item) for key, item in value.items()}
    return [public(item) for item in value] if isinstance(value, Sequence) else value


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


def _class(text: str) -> str:
    """A licence's words as one of: unstated, dedicated, public-domain, by..sa with a version, the text itself."""
    plain = re.sub(r"[^a-z0-9.]+", " ", text.lower()).strip()
    if plain in ("", "unknown", "none", "n a", "not stated", "unspecified", "other", "various"):
        return "unstated"
    if re.fullmatch(r"(cc ?0|cc zero)( 1.0)?( universal)?( us public domain| public domain dedication)?", plain):
        return "dedicated"
    if re.fullmatch(r"(the )?unlicense( public domain)?|pddl( 1.0)?", plain):
        return "dedicated"
    if re.fullmatch(r"(us )?public domain( mark( 1.0)?| in the (usa?|united states))?|pdm( 1.0)?", plain):
        return "public-domain"
    for words, letters in _CC_WORDS.items():
        plain = plain.replace(words, letters)
    found = re.fullmatch(r"cc by((?: nc| sa| nd)*)(?: ([1-4]\.[05]))?(?: (?:international|unported|generic))?", plain)
    if found:
        return "-".join(["by", *found[1].split()]) + f" {found[2] or '?'}"
    return "-".join(plain.split())


def _parts(name: str) -> tuple[str, str]:
    kind, _, version = name.partition(" ")
    return kind, version


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts) or "none"


def _front_matter(report: RunReport, license_id: str) -> DatasetCardData:
    """What the Hub reads of the card; keys without a value are left out."""
    count = report.rows["rows"]
    corpora = report.index.get("corpora")
    described = [c for c in corpora if isinstance(c, Mapping)] if isinstance(corpora, Sequence) else []
    known = [str(c["hub_id"]) for c in described if c.get("hub_id")]
    categories = report.about["categories"]
    configs: list[dict[str, object]] = [{"config_name": "default", "data_files": "data/train-*", "default": True}]
    if report.rows["rejected"]:
        configs.append({"config_name": "rejected", "data_files": "rejected/train-*"})
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
        configs=configs,
    )
    if license_id == "other":
        card["license_name"] = "see-card"
    return card


def _example(row: Row, fields: Iterable[str]) -> Row:
    """A row for the reader: long texts cut, and no local path in its lineage."""
    texts = {*fields, "document"}
    return {name: _cut(value) if name in texts else public(value) for name, value in row.items()}


def _cut(value: JSON) -> JSON:
    if isinstance(value, str) and len(value) > _SHOWN_CHARS:
        return f"{value[:_SHOWN_CHARS]} ... ({len(value) - _SHOWN_CHARS:,} characters more)"
    return value


def _pairs(value: JSON) -> list[Sequence[JSON]]:
    return [pair for pair in value if isinstance(pair, Sequence)] if isinstance(value, Sequence) else []


def _limits(task: str) -> str:
    """What the task's own template says of limits and risks; "" for a task that craft_hf does not ship."""
    try:
        return render(f"tasks/{task}.md").strip()
    except InputError:
        return ""
