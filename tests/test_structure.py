"""The arrows of the design: a module imports only from those that stand earlier on the data's way."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "craft_hf"

ORDER = [
    *("version", "errors", "records", "extras", "plugin", "__init__", "models", "hub"),
    *("templates", "markdown", "webpage"),
    *("tasks.few_shots", "tasks", "corpora"),
    *("readers", "readers.lines", "readers.jsonl", "readers.parquet", "readers.files", "readers.hub", "readers.html"),
    *("readers.stackexchange", "readers.wikipedia", "readers.wikihow"),
    *("corpus", "presets", "embed", "executors"),
    *("index.unique", "index.quantize", "index.shard", "index.info", "index.build", "index.verify"),
    *(
        "machine_code",
        "index.kernel",
        "index.device",
        "index.scan",
        "index.search",
        "index.card",
        "index.hub",
        "index",
        "retrieve",
    ),
    *("coverage.figures", "coverage.alike", "coverage.advice", "coverage", "prompt"),
    *("generate", "generate.grammar", "generate.attention", "generate.batches", "generate.cache", "generate.decode"),
    *("generate.local", "generate.background", "generate.keys", "generate.replies", "generate.structured"),
    *("generate.limit", "generate.endpoints", "generate.pool", "generate.asking", "generate.server"),
    "generate.journal",
    *(
        "quality.text",
        "quality.options",
        "quality.schema",
        "quality.wellformed",
        "quality.repetitive",
        "quality.language",
    ),
    *("quality.candidates", "quality.near", "quality.copied", "quality.test_sets", "quality.contaminated"),
    *("quality.grounded", "quality.judge", "quality.duplicate", "quality.semantic", "quality", "quality.balance"),
    "quality.few_shots",
    *("review", "review.samples", "review.decisions", "review.store", "review.outcome", "review.agreement"),
    "review.live",
    *(
        "usage",
        "rows",
        "earlier",
        "settings",
        "resolve",
        "documents",
        "answers",
        "progress",
        "pipeline",
        "findings",
        "estimate",
        "diversity",
        "row_vectors",
        "plots.canvas",
        "plots.counts",
        "plots.variety",
        "plots",
        "personal",
        "report",
        "renew",
        "licenses",
        "card",
        "run",
        "export",
        "craft",
    ),
    *(
        "training_rows",
        "review.queue",
        "review.passage",
        "review.suggest",
        "review.pairs",
        "review.guard",
        "review.app",
        "review.serve",
        "review.source",
        "adapter",
        "finetune",
        "preference",
        "evaluate.statistics",
        "evaluate.items",
        "evaluate.model",
        "evaluate.likelihood",
        "evaluate.choice",
        "evaluate.form",
        "evaluate.written",
        "evaluate.alike",
        "evaluate.judge",
        "evaluate.results",
        "evaluate",
        "scaling",
        "scaling_results",
        "benchmarks",
        "benchmarks.documents",
        "leaks",
        "publish.repository",
        "publish.dataset",
        "publish.adapter",
        "publish.verify",
        "publish",
        "index_cli",
        "generate_cli",
        "report_cli",
        "tasks_cli",
        "review_cli",
        "evaluate_cli",
        "publish_cli",
        "cli",
    ),
]
"""The modules from the first to the last; `cli` wires everything."""


def module_name(path: Path) -> str:
    """The dotted name of a file below the package, a package's own name for its __init__."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imported(path: Path) -> set[str]:
    """Names of the package's modules that a file imports, at the top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "craft_hf":
            base = node.module.removeprefix("craft_hf").lstrip(".")
            for alias in node.names:
                dotted = f"{base}.{alias.name}".lstrip(".")
                names.add(dotted if dotted in ORDER else base or "__init__")
        if isinstance(node, ast.Import):
            names |= {
                a.name.removeprefix("craft_hf").lstrip(".") or "__init__" for a in node.names if "craft_hf" in a.name
            }
    return names


def test_every_module_has_its_place() -> None:
    """The order names all modules that there are, and no others."""
    assert sorted(ORDER) == sorted(module_name(p) for p in PACKAGE.rglob("*.py"))


def test_imports_point_one_way() -> None:
    """No module imports one that stands after it, not even inside a function."""
    for path in PACKAGE.rglob("*.py"):
        name = module_name(path)
        late = [other for other in imported(path) if ORDER.index(other) >= ORDER.index(name) and other != name]
        assert not late, f"craft_hf.{name} imports {late}, which stands after it"


def test_base_import_is_light() -> None:
    """`import craft_hf` loads neither torch models nor optional packages."""
    code = "import sys, craft_hf; print({'transformers', 'openai', 'trl', 'peft', 'h5py'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_modules_stay_small() -> None:
    """A module of more than 300 lines has outgrown its one step."""
    long = {module_name(p): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 300}
    assert not long
