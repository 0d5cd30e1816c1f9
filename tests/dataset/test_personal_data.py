"""Personal data: what is found in texts, what is left alone, and what a masked text says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.dataset.personal_data import count_personal, found_in, masked


@pytest.mark.parametrize(
    ("text", "masks"),
    [
        ("Write to jo.doe+x@mail.example.org, or call (336) 492-2641.", "Write to [e-mail], or call [phone]."),
        ("Ask +44 20 7946 0958 or 888-346-3656!", "Ask [phone] or [phone]!"),
        ("a@b.co and a@b.co", "[e-mail] and [e-mail]"),
        ("Bake 12 biscuits at 180 C for 25-30 minutes (ISBN 978-3-16-148410-0).", ""),
        ("From 1914-1918, and 1939-1945; 2,048,576 bytes; 10.1056/NEJMoa2034577; @home", ""),
        ("", ""),
    ],
)
def test_masked(text: str, masks: str) -> None:
    """Addresses and numbers go, whatever stands around them stays; years, quantities and ISBNs are no numbers."""
    assert masked(text) == (masks or text)
    assert found_in(text) == ({k for k in ("e-mail", "phone") if f"[{k}]" in masks})


def test_masked_goes_into_lists_and_mappings() -> None:
    """Values keep their shape, and what is no text stays."""
    value = {"options": ["A. call 888-346-3656", 3], "n": None}
    assert masked(value) == {"options": ["A. call [phone]", 3], "n": None}
    assert found_in(value) == {"phone"}


@given(st.text())
def test_masked_is_stable(text: str) -> None:
    """A masked text holds nothing more to mask."""
    assert masked(masked(text)) == masked(text)
    assert not found_in(masked(text))


def test_count_personal_counts_rows() -> None:
    """A row counts once a kind, wherever in it the text is."""
    rows = [{"question": "a@b.co c@d.co", "document": "x"}, {"question": "y", "options": ["888-346-3656"]}, {"n": 1}]
    assert "of the 3 rows, documents included: 1 rows with an e-mail address, 1 with a phone number" in count_personal(
        rows
    )
