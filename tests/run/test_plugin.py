"""`import craft_hf` makes "craft" known to `datasets`, whichever is imported first, and in every process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

NAMES = "['bioqa', 'csqa', 'medqa', 'recipegen', 'summarization', 'terms']\n"


def python(code: str, *arguments: str) -> str:
    """Run a program in a process of its own and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "imports",
    [
        "import craft_hf; import datasets",
        "import datasets; import craft_hf",
        pytest.param("import craft_hf; from datasets import load_dataset; import datasets", marks=pytest.mark.long),
        pytest.param("from datasets import load_dataset; import craft_hf; import datasets", marks=pytest.mark.long),
        "import datasets.load; import craft_hf; import datasets",
        pytest.param("import craft_hf; import datasets.inspect; import datasets", marks=pytest.mark.long),
    ],
)
@pytest.mark.weights
def test_order_of_imports_does_not_matter(imports: str) -> None:
    """Both the functions that load and those that inspect know the builder."""
    code = (
        f"{imports}; print(datasets.get_dataset_config_names('craft'));"
        "builder = datasets.load_dataset_builder('craft', task='bioqa', generator='http://127.0.0.1:9/v1',"
        " generator_model='any'); print(builder.config.task)"
    )
    assert python(code) == f"{NAMES}bioqa\n"


def test_registering_again_wraps_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lookup is wrapped once, and other paths still reach the one of `datasets`."""
    (tmp_path / "a.json").write_text("{}")
    monkeypatch.chdir(tmp_path)  # where datasets looks for files: not through all of .venv
    code = (
        "import craft_hf; from craft_hf.run import register; register(); import datasets.load; register();"
        "import datasets.inspect; register();"
        "lookups = [m.dataset_module_factory.__wrapped__ for m in (datasets.load, datasets.inspect)];"
        "print([hasattr(lookup, '__wrapped__') for lookup in lookups]);"
        "print(datasets.get_dataset_config_names('json'))"
    )
    assert python(code) == "[False, False]\n['default']\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_know_it(tmp_path: Path, method: str) -> None:
    """A worker that imports `datasets` itself, after its parent imported craft_hf, finds the builder."""
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, sys\n"
        "import craft_hf\n"
        "def names(_):\n"
        "    import datasets\n"
        "    return datasets.get_dataset_config_names('craft')\n"
        "if __name__ == '__main__':\n"
        "    assert 'datasets' not in sys.modules\n"
        "    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:\n"
        "        print(*pool.map(names, [0]))\n"
    )
    done = subprocess.run([sys.executable, str(program), method], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, NAMES), done.stderr
