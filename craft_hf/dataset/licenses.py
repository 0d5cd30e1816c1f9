"""The licence under which texts of several licences can be published together."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from craft_hf.base import JSON, InputError
from craft_hf.dataset.spdx import (
    NOT_STATED,
    PUBLIC_DOMAIN,
    allows_adaptations,
    alternatives,
    creative_commons,
    spdx_expression,
)

_HUB_VERSIONS = {  # Creative Commons licences that the Hub has an id for
    "by": ("2.0", "2.5", "3.0", "4.0"),
    "by-sa": ("3.0", "4.0"),
    "by-nc": ("2.0", "3.0", "4.0"),
    "by-nc-sa": ("2.0", "3.0", "4.0"),
}
_ALONE = {
    "MIT": "mit", "Apache-2.0": "apache-2.0", "ODC-By-1.0": "odc-by", "ODbL-1.0": "odbl", "LicenseRef-GFDL": "gfdl",
    "CDLA-Permissive-2.0": "cdla-permissive-2.0", "CDLA-Sharing-1.0": "cdla-sharing-1.0", "etalab-2.0": "etalab-2.0",
    "BSD-3-Clause": "bsd-3-clause", "BSD-2-Clause": "bsd-2-clause", "ISC": "isc", "C-UDA-1.0": "c-uda",
    "GPL-3.0-only": "gpl-3.0", "GPL-3.0-or-later": "gpl-3.0", "OGL-UK-3.0": "ogl",
}  # fmt: skip
"""Ids of the Hub for other licences that all texts of a dataset may have."""

_DEDICATED = ("CC0-1.0", "PDDL-1.0", "Unlicense")
_PUBLIC_DOMAIN = ("CC-PDM-1.0", "CC-PDDC", PUBLIC_DOMAIN)

_COPYLEFT = re.compile(r"(?:LicenseRef-)?(?:[AL]?GPL|GFDL|ODbL|CDLA-Sharing)")

_STRICTEST = ("by-nc-sa", "by-nc", "by-sa", "by")


@dataclass(frozen=True)
class CombinedLicense:
    """The licence of a dataset: the Hub's id, the reason in a sentence, and why it must not be public, if it must not.

    `refusal` is "" for id "other" as well, where each row can be under its own licence.
    """

    id: str
    why: str
    refusal: str = ""


def combined_license(licenses: Iterable[str]) -> CombinedLicense:
    """Return the licence for a dataset with texts under all of these licences; this is no legal advice.

    Each is read by `spdx_expression`. The strictest licence decides if all others allow to be joined with it: public
    domain, then CC BY, then CC BY-SA or CC BY-NC, then CC BY-NC-SA. Of several licences to choose from, the one that
    allows most is taken. What must not be public: texts whose licence is not stated, or not recognised; licences that
    are not known to allow adaptations, which rows are; and licences that contradict each other (share-alike with
    non-commercial). The id is "other" for these, and for licences that no single one covers but that each row can keep
    (MIT beside CC BY; texts that are in the public domain, though perhaps not everywhere).

    Args:
        licenses: as the sources word them.
    """
    worded: dict[str, set[str]] = {}
    for text in {" ".join(text.split()) for text in licenses} or {""}:
        for license_id in _chosen(spdx_expression(text)):
            worded.setdefault(license_id, set()).add(text)
    stated = sorted(text for license_id, texts in worded.items() if license_id for text in texts)
    listed = ", ".join(dict.fromkeys(stated)) or "none"
    unknown = ", ".join(sorted(filter(None, worded.get(NOT_STATED, ()))))
    closed = sorted({text for name, texts in worded.items() if name and not allows_adaptations(name) for text in texts})
    kinds = {name: creative_commons(name) for name in worded if name}
    names = {kind for kind, _ in filter(None, kinds.values())}
    if closed:
        why = f"A licence does not allow samples made of its texts, or is not known to: {', '.join(closed)}."
        return CombinedLicense("other", why, why)
    if ("by-sa" in names or any(map(_COPYLEFT.match, kinds))) and names & {"by-nc", "by-nc-sa"}:
        why = f"Share-alike and non-commercial texts cannot be joined under one licence: {listed}."
        return CombinedLicense("other", why, why)
    others = set(kinds) - {*_DEDICATED, *_PUBLIC_DOMAIN}
    versions = {version for kind, version in filter(None, kinds.values()) if kind.endswith("sa")}
    if "1.0" in versions and len(others) > 1:
        why = f"Share-alike 1.0 does not allow for later versions, nor for other licences: {listed}."
        return CombinedLicense("other", why, why)
    if NOT_STATED in worded:
        why = f"Not every source states a licence (stated: {listed}" + f"; not recognised: {unknown}" * bool(unknown)
        return CombinedLicense("other", f"{why}).", f"{why}).")
    return _joined(kinds, listed)


def _joined(kinds: Mapping[str, tuple[str, str] | None], listed: str) -> CombinedLicense:
    """Return the licence that covers several which go together."""
    free, others = {*_DEDICATED, *_PUBLIC_DOMAIN}, set(kinds) - {*_DEDICATED, *_PUBLIC_DOMAIN}
    if not others:
        if set(kinds) <= set(_DEDICATED):
            return CombinedLicense("cc0-1.0", f"All texts were given to the public domain: {listed}.")
        why = f"All texts are in the public domain, but some perhaps not in every country: {listed}."
        return CombinedLicense("other", why)
    if len(kinds) == 1 and (only := _ALONE.get(next(iter(kinds)))):
        return CombinedLicense(only, f"All texts are under {listed}.")
    found = [kinds[name] for name in others]
    if not all(found):
        return CombinedLicense("other", f"No single licence of the Hub covers {listed}: each row is under its own.")
    kind = next(k for k in _STRICTEST if any(k == name for name, _ in filter(None, found)))
    versions = {version for name, version in filter(None, found) if name == kind}
    if "1.0" in versions and kind.endswith("sa"):
        return CombinedLicense("other", f"All texts are under {listed}, for which the Hub has no id.")
    same = len(versions) == 1 and versions <= set(_HUB_VERSIONS[kind])
    same = same and all(name == kind for name, _ in filter(None, found)) and set(kinds) <= others | free
    name = f"cc-{kind}-{next(iter(versions)) if same else '4.0'}"
    mixed = "" if same else "; each row keeps its own licence and version"
    return CombinedLicense(name, f"The strictest of the sources' licences, which are {listed}{mixed}.")


def _chosen(expression: str) -> list[str]:
    """Return the licences that hold for a text: of several ways to use it, the one that allows most."""
    ways = alternatives(expression)
    way = min(ways, key=lambda way: [max(map(_strictness, way)), len(way)], default=[NOT_STATED])
    dedicated = any(name in _DEDICATED for name in way)  # which holds also where the public domain ends
    return [name for name in way if not (dedicated and name in _PUBLIC_DOMAIN)]


def _strictness(license_id: str) -> int:
    if license_id in (*_DEDICATED, *_PUBLIC_DOMAIN):
        return 0
    if kind := creative_commons(license_id):
        return {"by": 1, "by-sa": 3, "by-nc": 4, "by-nc-sa": 5}.get(kind[0], 7)
    if not allows_adaptations(license_id):
        return 7
    return 6 if _COPYLEFT.match(license_id) else 2


def check_license(
    sources: Sequence[Mapping[str, JSON]], what: str, public: bool, rows: Iterable[Mapping[str, JSON]] = ()
) -> CombinedLicense:
    """Return the licence under which a dataset can be published, or raise an error.

    Args:
        sources: source, license, rows and rejected documents of each, as a report has them.
        what: a sentence without an end that says what cannot be done.
        public: whether all can see it; for the owner's eyes, everything may go up.
        rows: with document_id and license; some of those that stand in the way are named.

    Raises:
        InputError: it would be public, and its licences do not allow that, or nobody knows whether they do.
    """
    found = combined_license(str(source.get("license") or "") for source in sources)
    if not (public and found.refusal):
        return found
    alone = {str(s.get("license") or "") for s in sources if combined_license([str(s.get("license") or "")]).refusal}
    named = list(itertools.islice((str(r.get("document_id")) for r in rows if (r.get("license") or "") in alone), 3))
    of = "; ".join(
        f"{source.get('source') or 'not stated'} ({source.get('license') or 'no licence stated'}): "
        f"{source.get('rows')} rows{_and_rejected(source)}"
        for source in sources
        if not alone or str(source.get("license") or "") in alone
    )
    examples = f", such as documents {', '.join(named)}" if named else ""
    raise InputError(
        f"{what}: {found.refusal} It can be published for you alone, without --public. Or take them out (craft-hf "
        "withdraw ... --license 'CC BY-ND*'), generate again from documents of the licences that you name (--licenses "
        "'CC0*,CC BY 4.0'), which pays for no answer twice, or state the right one in the index (--license). In the "
        f"way are: {of}{examples}."
    )


def _and_rejected(source: Mapping[str, JSON]) -> str:
    return f" and {count} rejected documents" if (count := source.get("rejected")) else ""
