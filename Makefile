# The project's commands. Each makes the virtual environment it needs first; a change of the source installs it again.
#   make train   install, then train the sample         make test   the tests
#   make check   what CI runs                            make data   make dataset/ again
#   make zip     the coursework zip, in dist/            make clean  remove .venv and what builds leave
#   make parity  golden files from ultralytics 8.3.0     make parity-live  both packages side by side
#   make official  the environment for these two, in .cache/official; OFFICIAL=path/to/python names another
# Other Python: make train PYTHON=python3.12             Options: make train ARGS="--epochs 10"

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
OFFICIAL ?= .cache/official/bin/python
COCO128 ?= ../shared/data/coco128

# every path is relative, because the folder's own path may hold blanks
PY := "$(VENV)/bin/python"
SOURCES := $(shell find ultralytics -name '*.py' -o -name '*.yaml')

.PHONY: train test check data zip options clean official parity parity-live

train: $(VENV)/.installed
	$(PY) train/train.py $(ARGS)

test: $(VENV)/.editable
	$(PY) -m pytest $(ARGS)

check: $(VENV)/.editable
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m pytest --durations=10 $(ARGS)

data: $(VENV)/.editable
	$(PY) dataset/make_digits.py

options: $(VENV)/.editable
	$(PY) docs/make_options.py

zip:
	@test -e .ci/make_zip.py || { echo "make zip: works in a git checkout; this is an unpacked zip already"; exit 1; }
	$(PYTHON) .ci/make_zip.py

# an environment of its own, because both packages are called ultralytics; one that the caller names is taken as it is
READY := $(if $(filter .cache/official/bin/python,$(OFFICIAL)),.cache/official/.made)

official: $(READY)

parity: $(READY)
	YOLO_CONFIG_DIR="$(or $(TMPDIR),/tmp)" "$(OFFICIAL)" tests/parity/make_golden.py $(wildcard $(COCO128))

parity-live: $(READY) $(VENV)/.editable
	OFFICIAL="$(OFFICIAL)" $(PY) -m pytest tests/parity/live.py $(ARGS)

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

# `train` runs the installed package, as `pip install .` makes it
$(VENV)/.installed: $(VENV)/.made setup.py pyproject.toml $(SOURCES)
	rm -f "$(VENV)/.editable"
	$(PY) -m pip install .
	touch "$@"

# tests and checks run the tree itself
$(VENV)/.editable: $(VENV)/.made setup.py pyproject.toml
	rm -f "$(VENV)/.installed"
	$(PY) -m pip install -e ".[dev]"
	touch "$@"
