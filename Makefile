# Everything is installed editable into .venv, once: again only after a pyproject.toml or the constraints changed.

VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(dir $(wildcard plugins/*/pyproject.toml)))
DECLARED := pyproject.toml $(wildcard plugins/*/pyproject.toml) constraints.txt
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# pip installs these without their declared dependencies, and says so at the end. CompressAI 1.2.8 declares numpy < 2, but works
# with 2. pyiqa is for noncommercial use only, and the tests of its plugin do without it.
ALONE := plugins/hyperprior/ plugins/pyiqa/
COMPRESSAI_IMPORTS := einops pandas pytorch-msssim scipy torch-geometric torchvision tqdm
# The first interpreter that the pinned versions have wheels for; `make PYTHON=...` chooses another.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$p && break; done)

.PHONY: help run test lint style types imports docs wheels clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 8

run: $(VENV)/installed  ## decode the demo photo from a JPEG of quality 10; results go to runs/demo/photo
	$(BIN)/idem run examples/photo.png --quality 10 --out runs/demo

test: $(VENV)/installed-dev  ## run the tests, a process a core
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(ARGS)

lint: style types imports  ## check style, types and the direction of imports

style: $(VENV)/installed-dev
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

imports: $(VENV)/installed-dev
	$(BIN)/lint-imports

docs: $(VENV)/installed-docs  ## build the documentation, warnings are errors; open build/docs/index.html
	$(BIN)/python -m sphinx -b html -c docs -E -a -W --keep-going -q . build/docs

wheels: $(VENV)/installed-dev  ## build the core's and every plugin's wheel and sdist into dist/, and check them
	rm -rf dist
	for project in . $(PLUGINS); do $(BIN)/python -m build --outdir dist $$project || exit 1; done
	$(BIN)/python -m twine check --strict dist/*

clean:  ## remove .venv, the results of `make run`, built packages and the built documentation
	rm -rf $(VENV) runs/demo dist build/docs

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.10, 3.11 or 3.12 found; name one with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(DECLARED) | $(VENV)/bin/python
	$(INSTALL) -e . $(foreach p,$(filter-out $(ALONE),$(PLUGINS)),-e ./$(p)) $(COMPRESSAI_IMPORTS)
	$(INSTALL) --no-deps compressai $(foreach p,$(ALONE),-e ./$(p))
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) -e '.[dev]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed-dev
	$(INSTALL) -e '.[docs]'
	@touch $@
