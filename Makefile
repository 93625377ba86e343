# make demo    read the crops in tests/data/names with the included model; writes demo.html
# make test    lint, types and tests, in an environment with everything that training needs
# make lint    ruff and mypy alone
# make clean   remove what these made

PYTHON ?= python3
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint browser clean

demo: $(VENV)/.core
	@$(VENV)/bin/penname read tests/data/names --html demo.html
	@echo "demo.html shows each picture beside what was read"

test: lint browser
	$(VENV)/bin/python -m pytest

# Some pages are tested in Chromium; where it cannot be installed their tests are skipped.
browser:
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ test "$$(id -u)" = 0 && apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends chromium > /dev/null; } || \
		echo "no Chromium: install it to test the pages in tests/test_review.py"

lint: $(VENV)/.all
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf .venv build dist demo.html .mypy_cache .pytest_cache .ruff_cache
	find src tests -name __pycache__ -prune -exec rm -rf {} +

# The stamps say what is installed, so that the second run of a target installs nothing.
$(VENV)/.core: pyproject.toml | $(VENV)/bin/python
	$(PIP) --editable .
	@touch $@

$(VENV)/.all: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --constraint constraints.txt --editable '.[train,dev]'
	@touch $@ $(VENV)/.core

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "penname needs Python 3.11")'
	$(PYTHON) -m venv $(VENV)
