"""Checks that fail: the sample is kept apart with the error, and a run in which a check fails each time is ended."""

from __future__ import annotations

import re
from typing import Any

import pytest

from craft_hf.base.errors import CraftError, InputError
from craft_hf.base.records import Document, Verdict
from craft_hf.quality.check import Check
from craft_hf.quality.copied import CopiedCheck
from craft_hf.quality.duplicate import DuplicateCheck
from craft_hf.quality.guarded import ENOUGH, GuardedCheck, limits_for, summaries_for
from craft_hf.quality.judge import JudgeCheck
from craft_hf.quality.quality import Quality
from craft_hf.quality.registry import require_optional
from craft_hf.quality.wellformed import WellFormedCheck
from craft_hf.tasks.task import Task
from tests.quality_samples import GOOD, OPTIONAL, PLANTS, answer, changed, context, quality, sample, task
from tests.vectors import HashEmbedder

CHECK = """
from craft_hf.base import Verdict, CraftError
from craft_hf.quality import Check

class Odd(Check):
    name = "odd"
    label = "not odd"

    def check(self, sample):
        question = sample.fields["question"]
        {body}
        return self.keep()
"""


def own_task(body: str, more: str = "") -> Task:
    """A task with a check that does something odd."""
    found: Task = task(checks_source=CHECK.format(body=body) + more, checks_file="my/checks.py")
    return found


def own(body: str, more: str = "") -> Quality:
    """The checks that cannot be skipped, and one that does something odd."""
    return quality(OPTIONAL, HashEmbedder(), duplicate_threshold=100, task=own_task(body, more))


def questions(count: int) -> list[dict[str, Any]]:
    """Samples that have little in common."""
    words = ["Oxygen", "Helium", "Basalt", "Thunder", "Gravel", "Cotton", "Marble", "Saffron"]
    return [changed(question=f"What do {word * 2} and {word * 3} have to do with plants?") for word in words[:count]]


def fates(checks: Quality, samples: list[dict[str, Any]]) -> list[tuple[bool, str, str]]:
    """Keep, check and reason of the last verdict on each sample."""
    documents = [Document(f"d{n}", PLANTS.text) for n in range(len(samples))]
    found = [c.verdicts[-1] for c in checks.check_all(documents, [answer(fields) for fields in samples])]
    return [(v.keep, v.check, v.reason) for v in found]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("if 'Helium' in question: raise KeyError('not\\nthere')", r"failed: KeyError: 'not\nthere'"),
        ("if 'Helium' in question: raise ValueError('two\\nlines')", "failed: ValueError: two lines"),
        ("if 'Helium' in question: return None", "failed: returned None, expected self.keep(...) or self.drop(...)"),
        ("if 'Helium' in question: return Verdict('other', True)", "failed: returned Verdict(check='other'"),
        ("if 'Helium' in question: return self.keep('high')", "failed: returned Verdict(check='odd', keep=True"),
        ("if 'Helium' in question: return Verdict('odd', 'no')", "failed: returned Verdict(check='odd', keep='no'"),
        (
            "if 'Helium' in question: return self.keep(remark=123)",
            "failed: returned Verdict(check='odd', keep=True",
        ),
        ("if 'Helium' in question: return self.keep(partner=None)", "failed: returned Verdict(check='odd', keep=True"),
        (r"if 'Helium' in question: return self.drop('\ud800')", "failed: returned Verdict(check='odd', keep=False"),
        (r"if 'Helium' in question: raise ValueError('\ud800')", r"failed: ValueError: \ud800"),
        ("if 'Helium' in question: return self.drop(' ')", "failed: returned Verdict(check='odd', keep=False"),
        ("if 'Helium' in question: return self.keep(float('nan'))", "failed: returned Verdict(check='odd', keep=True"),
        ("if 'Helium' in question: return self.keep(float('-inf'))", "failed: returned Verdict(check='odd', keep=True"),
    ],
)
def test_a_check_that_fails_costs_the_sample(body: str, reason: str) -> None:
    """The others are kept; the reason is one line that names the error."""
    first, second, third = fates(own(body), questions(3))
    assert first[0]
    assert third[0]
    assert second[:2] == (False, "odd")
    assert second[2].startswith(reason.replace(r"\n", "\\n"))
    assert "\n" not in second[2]
    second[2].encode()  # a row can hold it


def test_a_check_that_fails_each_time_ends_the_run() -> None:
    """After a few samples, however they come; check, file, line and error are named."""
    message = rf"check odd failed for every sample that it saw \({ENOUGH}\): my/checks.py, line 11: ValueError: never"
    with pytest.raises(CraftError, match=message):
        fates(own("raise ValueError('never')"), questions(8))
    checks = own("raise ValueError('never')")
    for fields in questions(ENOUGH - 1):
        assert fates(checks, [fields]) == [(False, "odd", "failed: ValueError: never")]
    with pytest.raises(CraftError, match="--skip-checks odd"):
        fates(checks, questions(1))


def test_the_advice_on_a_check_that_always_fails_can_be_followed() -> None:
    """A check that can be skipped is skipped, one that cannot is taken out of its file, and ours are reported."""
    with pytest.raises(CraftError, match=r"Mend it, or leave it out with --skip-checks odd; answers") as skipping:
        fates(own("raise ValueError('never')"), questions(8))
    name = re.search(r"--skip-checks (\w+)", str(skipping.value))
    assert name
    require_optional(own_task("raise ValueError('never')"), [name[1]])
    with pytest.raises(CraftError, match=r"Mend it, or take it out of my/checks\.py; answers"):
        fates(own("raise ValueError('never')", "    optional = False\n"), questions(8))


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (CopiedCheck, "Report that as a fault of craft_hf, or leave it out with --skip-checks copied; answers"),
        (WellFormedCheck, "Report that as a fault of craft_hf; answers"),
        (DuplicateCheck, "Report that as a fault of craft_hf; answers"),
        (JudgeCheck, "Report that as a fault of craft_hf, or leave out --judge; answers"),
    ],
)
def test_the_advice_on_a_check_of_craft_hf_can_be_followed(
    kind: type[Check], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is sent to skip what cannot be skipped."""
    monkeypatch.setattr(kind, "check", lambda self, sample: 1 / 0)
    made = GuardedCheck(kind(context(ask=lambda *_: iter(()))))
    made.judge(sample())
    with pytest.raises(CraftError, match=advice):
        made.finish()


def test_a_check_says_what_it_measured() -> None:
    """In a sentence for report and card; one that fails costs the sentence, not the run."""
    kept = [Verdict("odd", True, score=2.0), Verdict("odd", False, "dropped"), Verdict("duplicate", True)]
    said = "    @classmethod\n    def summary(cls, verdicts):\n        return {}\n"
    for value, sentence in (
        ("f'{len(verdicts)} were odd.'", "1 were odd."),
        ("''", None),
        ("1 / 0", "Not told, for the check failed: ZeroDivisionError: division by zero"),
        ("5", "Not told, for the check failed: TypeError: summary returned 5, expected a text"),
    ):
        found = summaries_for(own_task("", said.format(value)), kept)
        assert found == ({"odd": sentence} if sentence else {})


def test_a_run_that_is_over_is_told_of_a_check_that_always_failed() -> None:
    """Also where there were only one or two samples; one good verdict is enough to go on."""
    checks = own("raise ValueError('never')")
    fates(checks, questions(1))
    with pytest.raises(CraftError, match=r"odd failed for every sample that it saw \(1\)"):
        checks.finish()
    checks = own("if 'Helium' in question: raise ValueError('once')")
    fates(checks, questions(2))
    checks.finish()


def test_an_error_for_the_user_goes_through() -> None:
    """A judge whose server is gone ends the run at once."""
    with pytest.raises(CraftError, match=r"^the server is gone$"):
        fates(own("raise CraftError('the server is gone')"), questions(1))


def test_a_batch_that_cannot_be_prepared_is_prepared_one_by_one() -> None:
    """So that only the sample for which it fails is dropped."""
    prepare = """
    def prepare(self, samples):
        self.lengths = {s: 1 / ("Helium" not in s.fields["question"]) for s in samples}

    def check(self, sample):
        return self.keep(self.lengths[sample])
"""
    first, second, third = fates(own("", prepare), questions(3))
    assert (first[0], third[0]) == (True, True)
    assert second == (False, "odd", "failed: ZeroDivisionError: division by zero")


def test_a_check_that_cannot_remember_ends_the_run() -> None:
    """What it compares with would no longer be what was kept."""
    more = """
    def remember(self, sample):
        raise OSError("disk")
"""
    with pytest.raises(CraftError, match=r"the check odd cannot remember a sample: my/checks\.py, line \d+: OSError"):
        fates(own("", more), [dict(GOOD)])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("def __init__(self, context):\n        self.words = 1 / 0", "cannot be made"),
        ("@classmethod\n    def applies(cls, context):\n        return 1 / 0", "cannot say whether it applies"),
    ],
)
def test_a_check_that_cannot_be_made_is_told(method: str, message: str) -> None:
    """Check, file, line and error are named before anything is paid for."""
    with pytest.raises(InputError, match=rf"the check odd {message}: my/checks\.py, line \d+: ZeroDivisionError.*mend"):
        own("", f"\n    {method}\n")


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("1 / 0", ", line 16: ZeroDivisionError"),
        ("0.5", ": TypeError: limit returned 0.5, expected a Limit of finite numbers"),
        ("Limit(float('nan'))", ": TypeError: limit returned Limit"),
        ("Limit('high')", ": TypeError: must be real number"),
    ],
)
def test_a_check_that_cannot_say_its_limit_is_told(value: str, error: str) -> None:
    """The review page and running runs ask for it, of a check of any task."""
    source = f"""
from craft_hf.quality import Check, Limit

class Odd(Check):
    name = "odd"
    label = "not odd"

    def check(self, sample):
        return self.keep()

    @classmethod
    def limit(cls, task):
        if task is None:
            return None

        return {value}
"""
    with pytest.raises(InputError, match=f"the check odd cannot say its limit: my/checks.py{error}"):
        limits_for(task(checks_source=source, checks_file="my/checks.py"))


def test_a_check_cannot_rewrite_a_sample() -> None:
    """Fields are kept as the model wrote them, in lists too, whichever method of a check changes what it is shown."""
    more = """
    def prepare(self, samples):
        self.shown = list(samples)
        for sample in samples:
            sample.fields["question"] = "prepared"

    def check(self, sample):
        assert sample in self.shown
        assert sample.fields["question"] == "prepared"
        sample.fields["options"].clear()
        return self.keep()

    def remember(self, sample):
        assert not sample.fields["options"]
        del sample.fields["answer"]
"""
    ((fields, verdicts, *_),) = own("", more).check_all([PLANTS], [answer(GOOD)])
    assert verdicts[-1].keep
    assert fields == GOOD


def test_checks_get_what_a_run_has() -> None:
    """The task, and what else the context holds."""
    source = """
from craft_hf.quality import Check

class Seed(Check):
    name = "seed"
    label = "sown"

    def __init__(self, context):
        super().__init__(context)
        self.seed = context.seed

    def check(self, sample):
        return self.drop(f"{self.task.name} {self.seed} {sample.document.id}")
"""
    checks = Quality(context(task(checks_source=source, checks_file="c.py"), seed=7), OPTIONAL)
    assert fates(checks, questions(1)) == [(False, "seed", "bioqa 7 d0")]
