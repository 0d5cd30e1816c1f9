"""Personal data: what is found in texts, what is left alone, and what a masked text says."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.base.personal_data import PERSONAL_KINDS as KINDS
from craft_hf.base.records import JSON
from craft_hf.dataset.personal_data import count_personal, country_of, found_in, masked, masked_row


@pytest.mark.parametrize(
    ("text", "masks"),
    [
        ("Write to jo.doe+x@mail.example.org, or call (336) 492-2641.", "Write to [e-mail], or call [phone]."),
        ("Ask +44 20 7946 0958 or 888-346-3656!", "Ask [phone] or [phone]!"),
        ("a@b.co and a@b.co", "[e-mail] and [e-mail]"),
        ("müller@straße.de, josé@correo.españa", "[e-mail], [e-mail]"),
        ("Иван: ivan@пример.рф", "Иван: [e-mail]"),
        ("Pay to DE89 3704 0044 0532 0130 00 today", "Pay to [IBAN] today"),
        ("GB82WEST12345698765432.", "[IBAN]."),
        ("FR1420041010050500013M02606", "[IBAN]"),
        ("Visa 4111 1111 1111 1111, exp. 12/29", "Visa [card], exp. 12/29"),
        ("5555-5555-5555-4444 or Amex 378282246310005", "[card] or Amex [card]"),
        ("Card number: 6011111111111117 12/25 123", "Card number: [card] 12/25 123"),
        ("SSN: 536 90 4399", "SSN: [SSN]"),
        ("de89370400440532013000", "[IBAN]"),
        ("93.184.216.34:8080 and ::ffff:93.184.216.34", "[IP]:8080 and ::ffff:[IP]"),
        ("2a00:1450::1", "[IP]"),
        ("SSN 219-09-9999", "SSN 219-09-9999"),  # printed in an advertisement, never given to anyone
        ("SSN 536-90-4399", "SSN [SSN]"),
        ("from 52.86.186.226 at night", "from [IP] at night"),
        ("2001:4860:4860::8888 and 2a00:1450:4001:81b::200e", "[IP] and [IP]"),
        ("", ""),
    ],
)
def test_masked(text: str, masks: str) -> None:
    """What is found goes, whatever stands around it stays."""
    assert masked(text) == masks
    assert found_in(text) == {kind for kind in KINDS if f"[{kind}]" in masks}


@pytest.mark.parametrize(
    "text",
    [
        "Bake 12 biscuits at 180 C for 25-30 minutes (ISBN 978-3-16-148410-0).",
        "From 1914-1918, and 1939-1945; 2,048,576 bytes; 10.1056/NEJMoa2034577; @home",
        "DE89 3704 0044 0532 0130 01 has a wrong check digit",
        "4111 1111 1111 1112 has one too",
        "Order 1234567890123456 of 2026",
        "0.4111111111111111 and 4111111111111111.5 are numbers",
        "000-12-3456, 666-12-3456, 536-90-43999 and 1536-90-4399 are none",
        "Section 1.2.3.4 and version 4.3.2.1, section 40.2.3.1",
        "accession 4539148803436467",
        "At 12:30::45 and std::vector, a::b, C::C",
        "192.168.1.1, 10.0.0.7 and 127.0.0.1 are everybody's, 300.1.1.1 nobody's",
        "At 12:30:45 on 2026-11-30, ratio 1:2:3:4",
        "fe80::1ff:fe23:4567:890a is of a link",
        "user@host, @name, a@b, 3 @ 2.50",
    ],
)
def test_what_only_looks_alike_stays(text: str) -> None:
    """Years, quantities, ISBNs, wrong check digits, sections, private networks."""
    assert masked(text) == text
    assert not found_in(text)


@pytest.mark.parametrize(
    ("url", "text", "masks"),
    [
        ("https://www.example.de/kontakt", "Tel. 030 901820", "Tel. [phone]"),
        ("https://example.co.uk:8080/x", "Ring 020 7946 0958", "Ring [phone]"),
        ("http://example.fr", "Appelez le 01 42 68 53 00", "Appelez le [phone]"),
        ("https://example.org/de", "Tel. 030 901820", "Tel. 030 901820"),
        ("https://example.zz/", "Call (336) 492-2641", "Call [phone]"),
        ("", "Call (336) 492-2641", "Call [phone]"),
    ],
)
def test_phone_numbers_are_those_of_the_documents_country(url: str, text: str, masks: str) -> None:
    """By the domain of its address; a country that there is not is none."""
    row: dict[str, JSON] = {"url": url, "document": text}
    assert masked(text, country_of(row)) == masks
    assert ("1 with a phone number" in count_personal([row])) == (masks != text)


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


@pytest.mark.parametrize(
    "text",
    [
        "1" * 50_000,
        "acgt" * 10_000 + " jo@example.org",
        "_" * 20_000 + " 555-123-4567",
        "." * 50_000,
        "a@" * 20_000,
        "1:" * 20_000,
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """A second would be for each row of a dataset."""
    started = time.process_time()
    found_in(text)
    assert time.process_time() - started < 20  # it was minutes


def test_ids_and_links_stay_and_json_stays_json() -> None:
    """They say where a text is from; escapes of JSON are no letters of what stands behind them."""
    said = json.dumps({"a": "write to\njo@example.org", "n": 2125552368, "b": "\n4111 1111 1111 1111"})
    row: dict[str, JSON] = {
        "document_id": "doc-212-555-2368",
        "url": "https://x.org/2125552368",
        "sample": said,
        "answer": "{" + said,
    }
    done = masked_row(row)
    assert (done["document_id"], done["url"]) == (row["document_id"], row["url"])
    assert json.loads(str(done["sample"])) == {"a": "write to\n[e-mail]", "n": 2125552368, "b": "\n[card]"}
    assert "jo@example.org" not in str(done["answer"])
    assert "Of the 1 rejects, 1 have any of these." in count_personal([{"question": "x"}], [row])
    assert "rejects" not in count_personal([{"question": "x"}])


def test_count_personal_counts_rows() -> None:
    """A row counts once a kind, wherever in it the text is."""
    rows = [{"question": "a@b.co c@d.co", "document": "x"}, {"question": "y", "options": ["888-346-3656"]}, {"n": 1}]
    assert "of the 3 rows, documents included: 1 rows with an e-mail address, 1 with a phone number" in count_personal(
        rows
    )
