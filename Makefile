# Two commands matter: `make demo` (segment the built-in phantom, or CT=path) and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-out
JOBS ?= auto

.PHONY: demo test study-smoke docs lint check format wheel clean

demo: $(VENV)/.base
ifdef CT
	$(BIN)/hepar segment "$(CT)" -o "$(OUT)"
else
	$(BIN)/hepar demo -o "$(OUT)"
endif

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS)

# The whole study of the paper on phantoms, under 3 minutes on two cores; fails where an arm finds no foreground.
study-smoke: $(VENV)/.dev
	rm -rf study-smoke-out
	$(BIN)/hepar study reproduce --phantoms 8 --folds 2 -o study-smoke-out --workers 2 --least-dice 0.5 \
	  --arms table1,joint_cascade,largest_component --matrix 64 --width 0.15 --weights none \
	  --learning-rate 5e-3 --set optimizer=adam --set loss=dice_cross_entropy --set schedule=cosine \
	  --set epochs=20 --set batch=4 --set micro_batch=4
	$(BIN)/hepar study paper study-smoke-out -o study-smoke-out/paper

# The documentation as a site, without a warning; method pages are made from the cards.
docs: $(VENV)/.dev
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

lint: $(VENV)/.dev
	$(BIN)/ruff check src tests benchmarks docs fuzz
	$(BIN)/ruff format --check src tests benchmarks docs fuzz
	$(BIN)/mypy

check: lint test

format: $(VENV)/.dev
	$(BIN)/ruff check --fix src tests benchmarks docs fuzz
	$(BIN)/ruff format src tests benchmarks docs fuzz

wheel: $(VENV)/.dev
	$(BIN)/python -m pip wheel --no-deps -w dist .

clean:
	rm -rf $(VENV) dist build docs/_build docs/methods demo-out study-smoke-out .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || $(PYTHON) -m virtualenv $(VENV)

# The base install has no torch.
$(VENV)/.base: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.base
