# make book: the executed chapters and the site.  make test: every check there is.  make help: the rest.
SHELL := bash
PYTHON ?= python3
PY := .venv/bin/python
INSTALLED := .venv/.installed
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
ALONE := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help install book execute html check test lint unit notebooks site-test classroom colab browser clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## create .venv with the pinned set

# torch comes first and alone: with the exact version pip takes the wheel that is at hand; a looser request, made
# together with the rest, would be free to fetch gigabytes of GPU libraries.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)."; \
	  echo "Install one and name it: make book PYTHON=python3.12"; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv .venv || { \
	  echo "No virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv"; exit 2; }
	$(PY) -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[book,export,test,dev]'
	@touch $@

book: $(INSTALLED) ## bring stale chapters up to date and build the site to _build/html
	@$(PY) -m book execute
	@$(PY) -m book html

execute: $(INSTALLED) ## run stale chapters
	@$(PY) -m book execute

html: $(INSTALLED) ## build the site from the executed notebooks
	@$(PY) -m book html

check: $(INSTALLED) ## text, notebooks, library, citations and exercises agree
	@$(PY) -m book check

test: $(INSTALLED) ## every check there is, with the time of each
	@PY=$(PY) tests/run_all.sh lint check unit notebooks site-test

lint: $(INSTALLED) ## style, types and the direction of imports
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@mkdir -p _build/types && ln -sfn ../../chapters _build/types/plm_chapters
	@$(PY) -m mypy
	@.venv/bin/lint-imports

unit: $(INSTALLED) ## the tests of library and tools
	@$(ALONE) $(PY) -m pytest -q -n $(JOBS) --dist loadgroup -p no:nbval -m "not browser"

notebooks: $(INSTALLED) ## run every notebook again and compare its outputs
	@$(ALONE) PLM_PRESET=laptop TQDM_DISABLE=1 TOKENIZERS_PARALLELISM=false PYTHONHASHSEED=0 \
	  $(PY) -m pytest -q -n $(JOBS) --dist loadfile -p tests.nbval_history --nbval --nbval-current-env \
	  --nbval-cell-timeout 1800 --nbval-sanitize-with tests/nbval_sanitize.cfg chapters/*.ipynb

site-test: html ## open the site in a headless browser
	@$(PY) -m pytest -q -m browser

classroom: $(INSTALLED) ## student notebooks, autograders and solutions
	@$(PY) -m book classroom

colab: $(INSTALLED) ## open every chapter as Colab would: fresh environment, empty folder, plm_core from git
	@$(PY) tests/colab/run.py $(NAMES)

browser: ## install the browser of the site tests
	@if command -v chromium chromium-browser google-chrome >/dev/null; then echo "There is a browser already."; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else echo "Install one: sudo apt-get install chromium, or .venv/bin/playwright install chromium"; exit 2; fi

clean: ## remove what is built; .venv stays
	rm -rf _build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
