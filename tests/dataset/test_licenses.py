"""Licences of sources: which one covers all, which contradict each other, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.errors import InputError
from craft_hf.base.records import JSON
from craft_hf.dataset.licenses import check_license, combined_license


@pytest.mark.parametrize(
    ("licenses", "expected"),
    [
        (["CC0 1.0", "cc0-1.0", "CC0 1.0 / US public domain"], "cc0-1.0"),
        (["Unlicense (public domain)", "CC0 1.0"], "cc0-1.0"),
        (["Public domain in the USA", "CC0 1.0"], "other"),
        (["CC BY 4.0", "CC BY 3.0", "Unlicense (public domain)", "Public domain in the USA"], "cc-by-4.0"),
        (["CC BY 3.0", "CC0 1.0"], "cc-by-3.0"),
        (["CC-BY"], "cc-by-4.0"),
        (["Creative Commons Attribution-ShareAlike 3.0 Unported", "cc-by-sa-4.0"], "cc-by-sa-4.0"),
        (["CC BY-SA 3.0"], "cc-by-sa-3.0"),
        (["CC BY-SA 1.0", "CC BY 4.0"], "other"),
        (["CC BY 4.0", "CC BY-SA 3.0"], "cc-by-sa-4.0"),
        (["CC BY-NC 4.0", "CC BY 4.0", "CC0"], "cc-by-nc-4.0"),
        (["CC BY-NC-SA 3.0", "CC BY 4.0"], "cc-by-nc-sa-4.0"),
        (["CC BY-NC 4.0", "CC BY-SA 4.0"], "other"),
        (["CC BY-NC-SA 4.0", "CC BY-SA 4.0"], "other"),
        (["CC BY-ND 4.0"], "other"),
        (["CC BY-NC-ND 4.0", "CC BY-NC 4.0"], "other"),
        (["Apache-2.0"], "apache-2.0"),
        (["MIT", "CC BY 4.0"], "other"),
        (["CC BY 4.0", ""], "other"),
        (["unknown"], "other"),
        (["CC BY 4.0, images all rights reserved"], "other"),
        (["not CC0"], "other"),
        ([], "other"),
    ],
)
def test_combined_license(licenses: list[str], expected: str) -> None:
    """The strictest licence that all others can join, and "other" where there is none or one is unknown."""
    found = combined_license(licenses)
    assert found.id == expected
    assert found.why.endswith(".")


_LICENSES = st.sampled_from(
    [
        "CC0 1.0",
        "Public domain in the USA",
        "CC BY 3.0",
        "CC BY 4.0",
        "CC BY-SA 4.0",
        "CC BY-NC 4.0",
        "CC BY-ND 4.0",
        "",
        "MIT",
        "x",
    ]
)


@given(st.lists(_LICENSES, max_size=5))
def test_combined_license_is_never_freer_than_a_part(licenses: list[str]) -> None:
    """Order and repetition do not matter, and no restriction of any text is lost."""
    found = combined_license(licenses)
    assert found == combined_license([*reversed(licenses), *licenses])
    if {"CC BY-ND 4.0", "", "x"} & {*licenses}:
        assert found.id == "other"
    for word, mark in (("by", "CC BY"), ("sa", "-SA"), ("nc", "-NC")):
        if found.id != "other" and any(mark in text for text in licenses):
            assert word in found.id.split("-")


@pytest.mark.parametrize(
    ("licenses", "refusal"),
    [
        (["CC BY 4.0", "CC BY-SA 3.0", "CC0 1.0"], ""),
        (["MIT", "CC BY 4.0"], ""),
        (["Public domain in the USA (Project Gutenberg text, trademark removed)", "CC BY-SA 4.0"], ""),
        (["CC BY-SA 3.0 or GFDL", "CC BY-SA 4.0"], ""),
        (["MIT or CC BY-ND 4.0"], ""),
        (["", "CC BY 4.0"], "Not every source states a licence (stated: CC BY 4.0)."),
        (["see the website", "CC BY 4.0"], "(stated: CC BY 4.0; not recognised: see the website)."),
        (["CC BY-SA 1.0"], ""),
        (["CC BY-SA 1.0", "CC BY-SA 4.0"], "Share-alike 1.0"),
        (["CC BY-SA 4.0", "CC BY-NC 4.0"], "cannot be joined"),
        (["CC BY-SA 3.0 or GFDL", "CC BY-NC-SA 3.0"], "cannot be joined"),
        (["CC BY-SA 4.0", "CC BY-NC-SA 4.0", "x"], "cannot be joined"),
        (["CC BY-ND 4.0", ""], "does not allow samples made of its texts"),
        (["Attribution-NoDerivatives 4.0 International License"], "does not allow samples made of its texts"),
        (["CC BY 4.0 and All rights reserved"], "does not allow samples made of its texts"),
        (["BUSL-1.1"], "is not known to"),
    ],
)
def test_what_must_not_be_public(licenses: list[str], refusal: str) -> None:
    """Licences that each row can keep may; what is not stated hides no conflict."""
    found = combined_license(licenses)
    assert found.id != "other" or "Gutenberg" not in licenses[0]
    assert refusal in found.refusal
    assert bool(refusal) == bool(found.refusal)


def test_a_public_dataset_is_refused_with_sources_rows_and_documents() -> None:
    """What is for the owner's eyes only is not; the message says what is in the way, and nothing else."""
    sources: list[dict[str, JSON]] = [
        {"source": "wiki", "license": "CC BY-SA 4.0", "rows": 12},
        {"source": "blog", "license": "CC BY-NC 4.0", "rows": 3},
    ]
    with pytest.raises(InputError, match=r"it fails: Share-alike .* wiki \(CC BY-SA 4.0\): 12 rows; blog"):
        check_license(sources, "it fails", public=True)
    assert "cannot be joined" in check_license(sources, "it fails", public=False).refusal
    assert check_license(sources[:1], "it fails", public=True).id == "cc-by-sa-4.0"
    mine: dict[str, JSON] = {"source": "mine", "license": "ask me", "rows": 1, "rejected": 7}
    rows: list[dict[str, JSON]] = [
        {"document_id": "w", "license": "CC BY-SA 4.0"},
        *({"document_id": f"m{n}", "license": "ask me"} for n in range(9)),
    ]
    with pytest.raises(InputError) as error:
        check_license([*sources[:1], mine], "it fails", True, rows)
    assert str(error.value).startswith("it fails: Not every source states a licence (stated: CC BY-SA 4.0; not recogn")
    assert str(error.value).endswith(
        "In the way are: mine (ask me): 1 rows and 7 rejected documents, such as documents m0, m1, m2."
    )
