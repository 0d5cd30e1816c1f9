"""The registry: which checks there are, in which order, from where, and that their names and docs are their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from craft_hf.base.errors import InputError
from craft_hf.base.models import file_fingerprint
from craft_hf.quality import registry
from craft_hf.quality.registry import (
    PEOPLE,
    RESERVED,
    checks_for,
    identity_of_packages,
    optional_built_in,
    optional_checks,
    require_optional,
)
from craft_hf.tasks.task import NAMES, Task, load_task
from tests import ROOT
from tests.quality_samples import BIOQA, CHECKS, context, task

OWN = """
from craft_hf.quality import Check

class Shouting(Check):
    name = "{name}"
    label = "{label}"

    def check(self, sample):
        return self.keep()
"""


def own(source: str = "", name: str = "shouting", label: str = "not shouted") -> Task:
    """A task with a checks.py."""
    found: Task = task(checks_source=source or OWN.format(name=name, label=label), checks_file="/my/checks.py")
    return found


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of an installed package, version 1.2, whose entry point is the check `shouting`."""
    info = tmp_path / "loud-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[craft_hf.checks]\nshouting = loud:Shouting\n")
    (tmp_path / "loud.py").write_text(OWN.format(name="shouting", label="not shouted"))
    monkeypatch.syspath_prepend(tmp_path)
    for cached in (registry._checks, registry._from_packages):
        cached.cache_clear()
    yield tmp_path
    sys.modules.pop("loud", None)
    for cached in (registry._checks, registry._from_packages):
        cached.cache_clear()


def test_every_check_says_what_it_is() -> None:
    """A name of its own, words for the funnel, and a line in README's table that is what the check says of itself."""
    readme = (ROOT / "README.md").read_text()
    kinds = checks_for(BIOQA)
    assert len({kind.label for kind in kinds}) == len({kind.name for kind in kinds}) == len(registry.BUILT_IN)
    for kind in kinds:
        assert kind.label
        assert f"| {kind.name} | {kind.about} |" in readme


@pytest.mark.parametrize("name", NAMES)
def test_limits_fit_every_task(name: str) -> None:
    """Where a check has a limit it is one number of its scores, and a score at it leaves most doubt."""
    loaded = load_task(name)
    limits = {kind.name: limit for kind in checks_for(loaded) if (limit := kind.limit(loaded)) is not None}
    assert set(limits) >= {"grounded", "judge", "semantic", "copied"}
    assert {check for check, limit in limits.items() if limit.drops_above} >= {"semantic", "copied"}
    assert not limits["grounded"].drops_above


def test_own_checks_come_before_what_compares() -> None:
    """A sample that a task's own check drops is neither judged nor compared."""
    names = [kind.name for kind in checks_for(own())]
    place = CHECKS.index("duplicate")
    assert names == [*CHECKS[:place], "shouting", *CHECKS[place:]]
    assert "shouting" in optional_checks(own())
    require_optional(own(), ["shouting", "grounded"])
    with pytest.raises(InputError, match=r"skip_checks has 'judge', .*grounded, shouting, semantic"):
        require_optional(own(), ["judge"])
    with pytest.raises(InputError, match="skip_checks has 'shouting'"):
        require_optional(BIOQA, ["shouting"])


def test_an_installed_package_adds_its_checks(package: Path) -> None:
    """They are made for every task, and known by name, version and file, as long as they are not skipped."""
    assert "shouting" in optional_checks(BIOQA)
    assert "shouting" not in optional_built_in()
    assert identity_of_packages() == [["shouting", "loud", "1.2", file_fingerprint(package / "loud.py")]]
    assert identity_of_packages(["shouting"]) == []


def test_a_package_that_is_edited_makes_another_run(package: Path) -> None:
    """Also under its old version, as with `pip install -e`; by what was loaded, not by what the file says by now."""
    before = identity_of_packages()
    with (package / "loud.py").open("a") as file:
        file.write("# changed\n")
    assert identity_of_packages() == before
    registry._from_packages.cache_clear()
    assert identity_of_packages() != before


def test_lists_of_optional_checks_are_complete() -> None:
    """Where the README and the page on the paper name all that can be skipped."""
    names = optional_built_in()
    assert f"--skip-checks {','.join(names)} " in (ROOT / "README.md").read_text()
    assert f"`skip_checks: [{', '.join(names)}]`" in (ROOT / "docs" / "paper.md").read_text()


def test_an_entry_point_that_is_no_check_is_told(package: Path) -> None:
    """Broken, or something else: the package is named."""
    (package / "loud.py").write_text("Shouting = 1")
    with pytest.raises(InputError, match=r"shouting = loud:Shouting of loud 1\.2 is 1, expected a subclass"):
        checks_for(BIOQA)
    del sys.modules["loud"]
    (package / "loud.py").write_text(OWN.format(name="shouting", label="x").replace("def check", "def chekc"))
    with pytest.raises(InputError, match=r"shouting = loud:Shouting of loud 1\.2 has no method check"):
        checks_for(BIOQA)
    del sys.modules["loud"]
    (package / "loud.py").write_text("import nothing_of_the_kind")
    with pytest.raises(InputError, match=r"of loud 1\.2 cannot be loaded: ModuleNotFoundError"):
        checks_for(BIOQA)


def test_two_checks_of_one_name_are_refused_with_both_places(package: Path) -> None:
    """A built-in's, another's of the same file, and a package's: each names the two files."""
    with pytest.raises(InputError, match=r"two checks are named 'copied', in .*copied\.py and in /my/checks\.py"):
        checks_for(own(name="copied"))
    with pytest.raises(InputError, match=r"named 'shouting', in .*loud\.py and in /my/checks\.py; rename one"):
        checks_for(own())
    twice = OWN.format(name="loud", label="x")
    with pytest.raises(InputError, match=r"named 'loud', in /my/checks\.py and in /my/checks\.py"):
        checks_for(own(twice + twice.replace("Shouting", "Loud")))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def broken(:", r"/my/checks\.py cannot be run: SyntaxError"),
        ("raise ValueError('no\\nway')", r"/my/checks\.py cannot be run: ValueError: no way"),
        ("x = 1", r"/my/checks\.py holds no check: expected a subclass"),
        (OWN.format(name="My Check", label="x"), r"Shouting in /my/checks\.py has the name 'My Check'; expected lower"),
        (OWN.format(name="", label="x"), r"has the name ''; expected lower"),
        (OWN.format(name="leakage", label="x"), r"has the name 'leakage'; expected .* none of any, leakage, review"),
        (OWN.format(name="loud", label=" "), r"Shouting in /my/checks\.py has no label"),
        (
            OWN.format(name="loud", label="x").replace("def check", "def chekc"),
            r"Shouting in .* has no method check; write",
        ),
        ("import sys\nsys.exit(3)", r"/my/checks\.py cannot be run: SystemExit: 3"),
    ],
)
def test_a_checks_file_that_is_none_is_told(source: str, message: str) -> None:
    """The file, what is wrong with it, and what was expected."""
    with pytest.raises(InputError, match=message):
        checks_for(own(source))


def test_a_second_name_for_a_class_makes_no_second_check() -> None:
    """An alias in the file is the same check."""
    source = OWN.format(name="shouting", label="x") + "\nLoud = Shouting\n"
    assert [kind.name for kind in checks_for(own(source))].count("shouting") == 1


def test_a_checks_file_is_run_as_python_runs_files() -> None:
    """Annotations are values unless the file itself wants them as text."""
    source = (
        OWN.format(name="shouting", label="x") + "\ndef half(n: int): ...\nassert half.__annotations__['n'] is int\n"
    )
    assert "shouting" in [kind.name for kind in checks_for(own(source))]


def test_names_of_people_are_reserved() -> None:
    """A check cannot pass for what people decided."""
    assert PEOPLE in RESERVED


def test_dataclasses_and_helpers_may_stand_in_a_checks_file() -> None:
    """Only subclasses of Check that can be made are checks."""
    source = """
from __future__ import annotations
from abc import abstractmethod
from dataclasses import dataclass
from craft_hf.quality import Check

@dataclass
class Word:
    text: str

class Base(Check):
    @abstractmethod
    def words(self) -> list[Word]: ...

    def check(self, sample):
        return self.keep(len(self.words()))

class Counting(Base):
    name = "counting"
    label = "counted"

    def words(self) -> list[Word]:
        return [Word("a")]
"""
    kind = next(kind for kind in checks_for(own(source)) if kind.name == "counting")
    assert kind(context()).check(None).score == 1  # type: ignore[arg-type]
