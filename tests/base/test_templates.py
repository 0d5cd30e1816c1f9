"""Templates: where they are found, and that they leave nothing blank."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest

from craft_hf.base import templates
from craft_hf.base.errors import InputError


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one template beside pyproject.toml, in place of this one."""
    (tmp_path / "craft_hf").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "dataset_cards").mkdir()
    (tmp_path / "dataset_cards" / "a.md.j2").write_text("from the checkout: {{ x }}\n")
    monkeypatch.setattr(templates, "_PACKAGE", tmp_path / "craft_hf")
    return tmp_path


def test_template_found_beside_pyproject(checkout: Path) -> None:
    """A checkout's templates are found although they are not inside the package."""
    assert templates.template("a.md.j2").render(x=1) == "from the checkout: 1\n"


def test_template_of_installed_package_comes_first(checkout: Path) -> None:
    """The wheel's copy wins over a folder of that name beside the package."""
    (checkout / "craft_hf" / "dataset_cards").mkdir()
    (checkout / "craft_hf" / "dataset_cards" / "a.md.j2").write_text("from the wheel: {{ x }}\n")
    assert templates.template("a.md.j2").render(x=1) == "from the wheel: 1\n"


def test_template_ignores_folder_without_pyproject(checkout: Path) -> None:
    """A stray dataset_cards folder beside an installed package is not read."""
    (checkout / "pyproject.toml").unlink()
    with pytest.raises(InputError, match="reinstall craft_hf"):
        templates.template("a.md.j2")


def test_template_missing_value_raises(checkout: Path) -> None:
    """A value that is not passed is an error, not a blank."""
    with pytest.raises(jinja2.UndefinedError, match="x"):
        templates.template("a.md.j2").render()


def test_template_includes_another(checkout: Path) -> None:
    """A template can include a neighbour, which an unknown name can not be."""
    (checkout / "dataset_cards" / "b.md.j2").write_text("{% include 'a.md.j2' %}end\n")
    assert templates.template("b.md.j2").render(x=2) == "from the checkout: 2\nend\n"


def test_template_unknown_name_lists_those_there_are(checkout: Path) -> None:
    """The error names what was asked and what there is."""
    with pytest.raises(InputError, match=r"'c\.md\.j2'; templates: a\.md\.j2"):
        templates.template("c.md.j2")


def test_chat_template_ships_with_the_package() -> None:
    """The chat template renders turns and opens the assistant's turn when asked."""
    compiled = jinja2.Environment().from_string(templates.chat_template())
    turns = [{"role": "user", "content": "2+2?"}]
    special = {"bos_token": "", "eos_token": "</s>"}
    asked = compiled.render(messages=turns, add_generation_prompt=True, **special)
    full = compiled.render(
        messages=[*turns, {"role": "assistant", "content": "4"}],
        add_generation_prompt=False,
        **special,
    )
    assert full == f"{asked}4</s>"
    assert "2+2?" in asked
