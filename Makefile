# The project's commands. Each creates the virtual environment that it needs; changed sources are installed again.
#   make train     install, then train on the sample    make test    run the tests
#   make check     formatter, linter, types, layers, tests: what CI runs
#   make data      regenerate dataset/                   make zip     write the coursework zip to dist/
#   make options   regenerate docs/reference/options.md  make figures regenerate the diagrams in docs/development
#   make hooks     run the checks at every git commit    make clean   remove .venv and build files
#   make parity    golden files from ultralytics 8.3.0   make parity-live  run both packages side by side
#   make official  the environment for these two, in .cache/official; OFFICIAL=path/to/python selects another
# Another Python: make train PYTHON=python3.12           Options: make train ARGS="--epochs 10"

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
OFFICIAL ?= .cache/official/bin/python
COCO128 ?= ../shared/data/coco128

# all paths are relative, because the absolute path of this folder may contain spaces
PY := "$(VENV)/bin/python"
SOURCES := $(shell find ultralytics -name '*.py' -o -name '*.yaml')

.PHONY: train test check data options figures zip hooks clean official parity parity-live

train: $(VENV)/.installed
	$(PY) train/train.py $(ARGS)

test: $(VENV)/.editable
	$(PY) -m pytest $(ARGS)

check: $(VENV)/.editable
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	"$(VENV)/bin/lint-imports" --no-logo
	$(PY) -m pytest --durations=10 $(ARGS)

data: $(VENV)/.editable
	$(PY) dataset/make_digits.py

options: $(VENV)/.editable
	$(PY) docs/make_options.py

figures: $(VENV)/.editable
	$(PY) docs/development/make_architecture.py

hooks: $(VENV)/.editable
	$(PY) -m pre_commit install

zip:
	@test -e .ci/make_zip.py || { echo "make zip: works in a git checkout; this is an unpacked zip already"; exit 1; }
	$(PYTHON) .ci/make_zip.py

# a separate environment, because both packages are called ultralytics; one that the caller selects is used unchanged
READY := $(if $(filter .cache/official/bin/python,$(OFFICIAL)),.cache/official/.made)

official: $(READY)

parity: $(READY)
	YOLO_CONFIG_DIR="$(or $(TMPDIR),/tmp)" "$(OFFICIAL)" tests/parity/make_golden.py $(wildcard $(COCO128))

parity-live: $(READY) $(VENV)/.editable
	OFFICIAL="$(OFFICIAL)" $(PY) -m pytest tests/parity/live*.py $(ARGS)

.cache/official/.made: | $(VENV)/.editable
	$(PYTHON) -m venv --clear .cache/official
	$(PY) -c "from importlib.metadata import version as v; print(*(f'{p}=={v(p)}' for p in ('torch', 'torchvision')))" \
	  | sed 's/+[a-z0-9]*//g' | xargs .cache/official/bin/python -m pip install "ultralytics==8.3.0" "numpy<2"
	touch "$@"

clean:
	rm -rf .venv build dist *.egg-info

$(VENV)/.made:
	$(PYTHON) -m venv "$(VENV)"
	touch "$@"

# `train` uses the package as `pip install .` installs it
$(VENV)/.installed: $(VENV)/.made setup.py pyproject.toml $(SOURCES)
	rm -f "$(VENV)/.editable"
	$(PY) -m pip install .
	touch "$@"

# tests and checks use the source tree
$(VENV)/.editable: $(VENV)/.made setup.py pyproject.toml
	rm -f "$(VENV)/.installed"
	$(PY) -m pip install -e ".[dev]"
	touch "$@"
