"""People review in a real browser: by keyboard and mouse, two at once, through kills, and past what documents hold."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from craft_hf.review.decisions import ACCEPT, EDIT, PROMOTE, REJECT, UNDO
from craft_hf.review.samples import ReviewSample
from craft_hf.review.store import ReviewStore
from tests.browser import CHROMIUM, ReviewServer, chromium, open_page
from tests.reviewing import made_reviews, made_sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

EVIL = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    "<b onmouseover='window.hacked = 3'>bold</b></div></main>javascript:window.hacked=4"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests; each page has a session of its own."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def samples(tmp_path: Path) -> list[ReviewSample]:
    """Six samples in the store."""
    reviews, samples = made_reviews(tmp_path / "r.sqlite", 6)
    reviews.close()
    return samples


@pytest.fixture
def server(tmp_path: Path, samples: list[ReviewSample]) -> Iterator[ReviewServer]:
    """The page of that store."""
    server = ReviewServer(tmp_path / "r.sqlite")
    yield server
    with suppress(ProcessLookupError):
        server.kill()


def shows(page: Page, sample: ReviewSample) -> None:
    """Wait until the page shows a sample."""
    page.wait_for_function(
        "text => document.querySelector('#sample .value')?.textContent === text", arg=_question(sample)
    )


def _question(sample: ReviewSample) -> str:
    return str(sample.fields["question"])


def standing(folder: Path) -> list[tuple[str, str, str, str]]:
    """Sample, reviewer, verdict and reason of every decision that stands."""
    with ReviewStore(folder / "r.sqlite") as reviews:
        return [(d.sample_id, d.reviewer, d.verdict, d.reason) for d in reviews.current_decisions()]


def test_by_keyboard(browser: Browser, server: ReviewServer, samples: list[ReviewSample], tmp_path: Path) -> None:
    """Accept, reject by the number of a reason, edit, promote, undo, go on and back, search: by keys alone."""
    page = open_page(browser, server.url)
    keys = page.keyboard
    shows(page, samples[0])
    keys.press("a")
    shows(page, samples[1])
    keys.press("r")
    page.wait_for_selector("#why[open]")
    keys.press("2")
    shows(page, samples[2])
    keys.press("e")
    page.wait_for_selector("#editor[open]")
    page.locator("#inputs textarea").first.fill("What does a better question ask for?")
    keys.press("Control+Enter")
    shows(page, samples[3])
    keys.press("j")
    shows(page, samples[4])
    keys.press("k")
    shows(page, samples[3])
    keys.press("p")
    shows(page, samples[4])
    keys.press("a")
    shows(page, samples[5])
    keys.press("u")
    shows(page, samples[4])
    found = [(name, verdict, reason) for name, _, verdict, reason in standing(tmp_path)]
    assert found == [
        (samples[0].id, ACCEPT, ""),
        (samples[1].id, REJECT, "not supported by the document"),
        (samples[2].id, EDIT, ""),
        (samples[3].id, ACCEPT, ""),
    ]
    with ReviewStore(tmp_path / "r.sqlite") as reviews:
        assert [d.verdict for d in reviews.history()][-1] == UNDO
        assert reviews.current_decisions(samples[2].id)[0].fields["question"] == "What does a better question ask for?"
        assert [(c.kind, c.value["sample_id"]) for c in reviews.changes()] == [(PROMOTE, samples[3].id)]
    page.wait_for_selector("#progress:has-text('4 of 6 decided by me')")
    keys.press("/")
    keys.type("5: ")
    shows(page, samples[5])
    keys.press("Escape")
    keys.press("a")  # what is typed into the search is no decision, but this is
    page.wait_for_selector("#nothing:not([hidden])")
    assert len(standing(tmp_path)) == 5


def test_by_mouse(browser: Browser, server: ReviewServer, samples: list[ReviewSample], tmp_path: Path) -> None:
    """The same with buttons; filters show what was decided; a wrong edit is told and not lost."""
    page = open_page(browser, server.url)
    shows(page, samples[0])
    page.click("#reject")
    page.fill("#note", "B is right as well")
    page.click("#reasons button:has-text('wrong answer')")
    shows(page, samples[1])
    page.click("#edit")
    page.locator("#inputs textarea").first.fill("Short?")
    page.click("#save")
    page.wait_for_selector("#wrong:not([hidden])")
    assert "question: under 16 characters" in page.inner_text("#wrong")
    page.locator("#inputs textarea").first.fill("Is this question long enough?")
    page.locator("#inputs select").select_option("C")
    page.click("#save")
    shows(page, samples[2])
    page.click("#accept")
    shows(page, samples[3])
    page.select_option("#show", "reject")
    shows(page, samples[0])
    assert "rejected by me" in page.inner_text("#sample")
    assert "wrong answer: B is right as well" in page.inner_text("#sample")
    page.select_option("#show", "edit")
    page.wait_for_function(
        "() => document.querySelector('#sample .value')?.textContent === 'Is this question long enough?'"
    )
    page.click("#undo")  # the last decision: samples[2]
    shows(page, samples[2])
    page.select_option("#show", "accept")
    page.wait_for_selector("#nothing:not([hidden])")
    assert [verdict for _, _, verdict, _ in standing(tmp_path)] == [REJECT, EDIT]


def test_keys_that_come_too_early_decide_nothing(
    browser: Browser, server: ReviewServer, samples: list[ReviewSample], tmp_path: Path
) -> None:
    """While the next sample is on its way, a key is not for the last one, which is not wanted any more."""
    page = open_page(browser, server.url)
    shows(page, samples[0])
    page.evaluate(_SLOW)
    page.keyboard.press("a")
    while not standing(tmp_path):
        page.wait_for_timeout(20)
    page.wait_for_timeout(100)
    page.keyboard.press("e")
    shows(page, samples[1])
    assert page.locator("#editor[open]").count() == 0
    assert standing(tmp_path) == [(samples[0].id, "ann", ACCEPT, "")]


def test_two_at_once(browser: Browser, server: ReviewServer, samples: list[ReviewSample], tmp_path: Path) -> None:
    """Each has a queue of their own, and sees what the other decided once they have; both are kept."""
    ann, bob = open_page(browser, server.url), open_page(browser, server.url, "bob")
    for sample, following in itertools.pairwise(samples):
        shows(ann, sample)
        shows(bob, sample)
        ann.keyboard.press("a")
        bob.keyboard.press("r")
        bob.keyboard.press("7")
        shows(ann, following)
        shows(bob, following)
    assert len(standing(tmp_path)) == 10
    ann.select_option("#show", "disagreed")
    shows(ann, samples[0])
    assert "rejected by bob" in ann.inner_text("#sample")
    with ReviewStore(tmp_path / "r.sqlite") as reviews:
        assert {d.reviewer for d in reviews.current_decisions()} == {"ann", "bob"}
    bob.select_option("#show", "open")
    shows(bob, samples[5])
    ann.keyboard.press("k")
    ann.fill("#reviewer", "")
    ann.locator("#reviewer").blur()
    ann.keyboard.press("a")
    assert "Who decides?" in ann.inner_text("#problem")


def test_documents_hold_no_scripts_for_the_page(browser: Browser, tmp_path: Path) -> None:
    """Tags in documents, titles, addresses, fields and reasons are shown as the text that they are."""
    reviews, _ = made_reviews(tmp_path / "r.sqlite", 0)
    document = {"id": EVIL, "text": EVIL + " Emoji \U0001f9ec before. The sky is blue today.", "source": EVIL}
    document |= {"title": EVIL, "url": "javascript:window.hacked=5", "license": EVIL}
    fields = {"question": f"What colour is the sky? {EVIL}", "options": [f"{x}. {EVIL}" for x in "ABC"], "answer": EVIL}
    fields["options"] = [*fields["options"], "D. The sky is blue today"]
    checks = [{"check": EVIL, "score": 0.5, "partner": EVIL, "remark": EVIL}]
    reviews.add([made_sample(0, fields=fields, document=document, checks=checks)])
    reviews.close()
    server = ReviewServer(tmp_path / "r.sqlite")
    page = open_page(browser, server.url, EVIL)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    assert EVIL in page.inner_text("#source .text")
    assert EVIL in page.inner_text("#sample .value.first")
    assert page.locator("mark").last.inner_text().endswith("The sky is blue today.")
    page.keyboard.press("a")
    page.wait_for_selector("#nothing:not([hidden])")
    page.select_option("#show", "all")
    page.wait_for_selector("#sample .badge")
    page.mouse.move(300, 300)
    assert page.evaluate("window.hacked") is None
    assert page.locator("main script, main img, main b, a[href^='javascript']").count() == 0
    assert not complaints
    server.kill()


def test_kill_9_loses_no_decision(browser: Browser, samples: list[ReviewSample], tmp_path: Path) -> None:
    """Killed before, between and after clicks: the page keeps what it could not send; in the end it is there once."""
    server = ReviewServer(tmp_path / "r.sqlite")
    page = open_page(browser, server.url)
    shows(page, samples[0])
    page.keyboard.press("a")
    shows(page, samples[1])
    server.kill()  # after the decision was confirmed
    page.keyboard.press("r")
    page.keyboard.press("4")
    page.wait_for_selector("#problem:not([hidden])")
    assert "The server does not answer" in page.inner_text("#problem")
    page.keyboard.press("a")  # nothing else is decided until that is through
    server = ReviewServer(tmp_path / "r.sqlite", server.port)
    shows(page, samples[2])
    assert page.is_hidden("#problem")
    page.keyboard.press("a")
    server.kill()  # between the click and the next sample, whether the decision was written or not
    page.wait_for_timeout(300)
    page.close()  # and the page with it
    server = ReviewServer(tmp_path / "r.sqlite", server.port)
    page = page.context.new_page()
    page.goto(server.url)
    page.wait_for_selector("body[data-ready]")
    deadline = time.monotonic() + 15
    while len(standing(tmp_path)) < 3 and time.monotonic() < deadline:
        page.wait_for_timeout(100)
    assert standing(tmp_path) == [
        (samples[0].id, "ann", ACCEPT, ""),
        (samples[1].id, "ann", REJECT, "wrong answer"),
        (samples[2].id, "ann", ACCEPT, ""),
    ]
    with ReviewStore(tmp_path / "r.sqlite") as reviews:
        assert len(reviews.history()) == 3
    shows(page, samples[3])
    assert server.stop() == 0


def test_a_password_is_asked_for(browser: Browser, samples: list[ReviewSample], tmp_path: Path) -> None:
    """A wrong one lets nobody in, the right one does."""
    server = ReviewServer(tmp_path / "r.sqlite", password="open sesame")  # noqa: S106
    page = browser.new_context().new_page()
    page.goto(server.url)
    page.fill("input[type=password]", "wrong")
    page.click("button")
    page.fill("input[type=password]", "open sesame")
    page.click("button")
    page.wait_for_selector("body[data-ready]")
    shows(page, samples[0])
    server.kill()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_readable_on_a_phone_in_both_themes(
    browser: Browser, server: ReviewServer, samples: list[ReviewSample], scheme: str
) -> None:
    """Nothing is wider than the screen, all buttons can be reached, and text stands out from its ground (WCAG AA)."""
    page = open_page(browser, server.url, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    shows(page, samples[0])
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(_CONTRAST) >= 4.5
    for name in ("accept", "reject", "edit", "undo", "next"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["height"] >= 32
    page.tap("#accept")
    shows(page, samples[1])
    page.tap("#edit")
    page.wait_for_selector("#editor[open]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


_SLOW = """() => {
  fetched.clear();
  const { fetch } = window;
  window.fetch = async (path, options) => {
    if (path.includes('/api/sample')) await new Promise((done) => setTimeout(done, 400));
    return fetch(path, options);
  };
}"""
"""Makes every sample take longer."""

_CONTRAST = """() => {
  const part = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (css) => { const [r, g, b] = css.match(/[\\d.]+/g).map(Number);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b); };
  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$|transparent/.test(c)) return c; } return 'rgb(255, 255, 255)'; };
  const ratios = [...document.querySelectorAll('main *, header *, button:enabled, mark')]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) && e.offsetParent)
    .map((e) => { const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
      return (a + 0.05) / (b + 0.05); });
  return Math.min(...ratios);
}"""
"""The least ratio of luminances of a text and what is behind it, by the formula of WCAG 2.2."""
