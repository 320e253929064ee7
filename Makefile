# Every target sets itself up in .venv: on a fresh machine `make demo` and `make test` need nothing else.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
FOLDERS := modeling_xling trainers eval model_cards cli

.PHONY: demo test test-all check bench clean

demo: $(VENV)/.demo
	$(BIN)/xling demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest tests -q --numprocesses logical

test-all: $(VENV)/.all
	$(BIN)/python -m pytest tests -q --numprocesses logical -m ''

check: $(VENV)/.dev $(VENV)/typing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pydoclint --quiet $(FOLDERS) benchmarks
	$(BIN)/basedpyright

bench: $(VENV)/.dev
	for program in benchmarks/*.py; do $(BIN)/python $$program || exit 1; done

clean:
	rm -rf $(VENV) outputs build *.egg-info

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one by make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[demo]'
	touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[demo,eval,mining,peft,dev]'
	touch $@

$(VENV)/.all: $(VENV)/.dev
	$(PIP) --editable '.[mteb]'
	touch $@

# The type checker does not follow the mapping of folders into one import name; it gets links instead.
$(VENV)/typing: $(VENV)/.dev
	mkdir -p $@/xling_align
	cd $@/xling_align && for folder in $(FOLDERS); do ln -sfn ../../../$$folder $$folder; done
