"""The licence under which texts of several licences can be published together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from craft_hf.base import JSON, InputError

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


@dataclass(frozen=True)
class CombinedLicense:
    """The licence of a dataset: the Hub's id, the reason in a sentence, and the conflict that forbids such a dataset.

    `conflict` is "" for id "other" as well, where each row can be under its own licence. `unstated` says that there is
    a source of which nothing is known: nobody has allowed to give it on.
    """

    id: str
    why: str
    conflict: str = ""
    unstated: bool = False


def combined_license(licenses: Iterable[str]) -> CombinedLicense:
    """Return the licence for a dataset with texts under all of these licences; this is no legal advice.

    The strictest licence decides if all others allow to be joined with it: public domain, then CC BY, then CC BY-SA or
    CC BY-NC, then CC BY-NC-SA. Licences that contradict each other (share-alike with non-commercial) and licences that
    forbid adaptations, which rows are, are a conflict. The id is "other" for these, for licences that are not stated,
    and for those that no single one covers but that each row can keep (MIT beside CC BY; texts that are in the public
    domain, though perhaps not everywhere).
    """
    texts = {" ".join(text.split()) for text in licenses}
    stated = sorted(text for text in texts if _class(text) != "unstated")
    listed, classes = ", ".join(stated) or "none", {_class(text) for text in stated}
    kinds = {kind for kind, _ in map(_parts, classes)}
    if any(kind.startswith("by-") and kind.endswith("nd") for kind in kinds):
        why = f"A licence without derivatives does not allow samples made of its texts: {listed}."
        return CombinedLicense("other", why, conflict=why)
    if "by-sa" in kinds and kinds & {"by-nc", "by-nc-sa"}:
        why = f"Share-alike and non-commercial texts cannot be joined under one licence: {listed}."
        return CombinedLicense("other", why, conflict=why)
    if len(stated) < len(texts) or not texts:
        return CombinedLicense("other", f"Not every source states a licence (stated: {listed}).", unstated=True)
    if len(classes) == 1 and (only := next(iter(classes))) in _ALONE:
        return CombinedLicense(only, f"All texts are under {listed}.")
    if not kinds <= {"dedicated", "public-domain", *_HUB_VERSIONS}:
        return CombinedLicense("other", f"No single licence of the Hub covers {listed}: each row is under its own.")
    if kinds == {"dedicated"}:
        return CombinedLicense("cc0-1.0", f"All texts were given to the public domain: {listed}.")
    if kinds <= {"dedicated", "public-domain"}:
        why = f"All texts are in the public domain, but some perhaps not in every country: {listed}."
        return CombinedLicense("other", why)
    kind = next(k for k in ("by-nc-sa", "by-nc", "by-sa", "by") if k in kinds)
    versions = {v for k, v in map(_parts, classes) if k == kind}
    if "1.0" in versions and kind.endswith("sa") and len(classes - {"dedicated", "public-domain"}) > 1:
        why = f"Share-alike 1.0 does not allow for later versions, nor for other licences: {listed}."
        return CombinedLicense("other", why, conflict=why)
    if "1.0" in versions and kind.endswith("sa"):
        return CombinedLicense("other", f"All texts are under {listed}, for which the Hub has no id.")
    same = len(versions) == 1 and versions <= set(_HUB_VERSIONS[kind]) and kinds <= {kind, "dedicated", "public-domain"}
    found = f"cc-{kind}-{versions.pop() if same else '4.0'}"
    mixed = "" if same else "; each row keeps its own licence and version"
    return CombinedLicense(found, f"The strictest of the sources' licences, which are {listed}{mixed}.")


def check_license(sources: Sequence[Mapping[str, JSON]], what: str, public: bool) -> CombinedLicense:
    """Return the licence under which a dataset can be published, or raise an error.

    Args:
        sources: source, license and rows of each, as a report has them.
        what: a sentence without an end that says what cannot be done.
        public: whether all can see it; rows of sources without a licence are for the owner's eyes only.

    Raises:
        InputError: the sources' licences are in conflict, or one that states none would become public.
    """
    found = combined_license(str(source.get("license") or "") for source in sources)
    if found.conflict or (public and found.unstated):
        rows = "; ".join(
            f"{source.get('source') or 'not stated'} ({source.get('license') or 'no licence stated'}): "
            f"{source.get('rows')} rows"
            for source in sources
        )
        states = "" if found.conflict else ", or build the index anew and state its licence (--license)"
        raise InputError(f"{what}: {found.conflict or found.why} Leave sources out{states}. The rows are from: {rows}.")
    return found


def _class(text: str) -> str:
    """Classify a licence: unstated, dedicated, public-domain, by/by-sa/... with a version, or its own text."""
    plain = re.sub(r"[^a-z0-9.]+", " ", text.lower()).strip()
    if plain in ("", "unknown", "none", "n a", "not stated", "unspecified", "other", "various"):
        return "unstated"
    if re.fullmatch(r"(cc ?0|cc zero)( 1.0)?( universal)?( us public domain| public domain dedication)?", plain):
        return "dedicated"
    if re.fullmatch(r"(the )?unlicense( public domain)?|pddl( 1.0)?", plain):
        return "dedicated"
    if re.fullmatch(
        r"(us )?public domain( mark( 1.0)?| in the (usa?|united states)( project gutenberg[a-z ]*)?)?|pdm( 1.0)?", plain
    ):
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
