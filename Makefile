# `make search` runs the main job, `make test` the tests; both first make the virtual environment that they need.
# ARGS="..." is passed on; PYTHON=python3.12 chooses the interpreter, VENV=.venv-3.12 another environment.
PYTHON ?= python3
VENV ?= .venv
VENV_CUDA ?= .venv-cuda
ARGS ?=

IN_VENV := $(VENV)/bin/python -m

.PHONY: search test test-all lint docs notebooks gpu gpu-compile cuda clean

search: $(VENV)/.installed
	$(IN_VENV) experiments.search $(ARGS)

test: $(VENV)/.installed-test
	$(IN_VENV) pytest --numprocesses=auto --dist=loadfile -m "not slow" $(ARGS)

# And those that take long. Bounds are compiled as users compile them, since what rounds depends on it, the rest as in `make test`:
# `XLA_FLAGS= make test-all` compiles all as users do, in three times the time.
test-all: lint test
	XLA_FLAGS= $(IN_VENV) pytest --numprocesses=auto --dist=worksteal -m slow $(ARGS) tests/bounds
	$(IN_VENV) pytest --numprocesses=auto --dist=worksteal -m slow $(ARGS) --ignore=tests/bounds tests

lint: $(VENV)/.installed-test
	$(IN_VENV) ruff check .
	$(IN_VENV) basedpyright --pythonpath $(VENV)/bin/python

# The site goes to build/site; open build/site/index.html in a browser.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(IN_VENV) mkdocs build --strict --quiet $(ARGS)

# Runs the notebooks and keeps what they show.
notebooks: $(VENV)/.installed-docs
	$(IN_VENV) experiments.render_notebooks $(ARGS)

# Measures on the GPU of this machine.
gpu: cuda
	@$(MAKE) --no-print-directory VENV=$(VENV_CUDA) $(VENV_CUDA)/.installed-test
	$(VENV_CUDA)/bin/python -m experiments.gpu.measure --out=build/gpu.jsonl $(ARGS)

# Compiles for an H100, which need not be there.
gpu-compile: cuda
	$(VENV_CUDA)/bin/python -m experiments.gpu.compile $(ARGS)

# An environment of its own, since CUDA's libraries take 4.4 GB.
cuda:
	@$(MAKE) --no-print-directory VENV=$(VENV_CUDA) $(VENV_CUDA)/.installed-cuda

clean:
	rm -rf $(VENV) $(VENV_CUDA) build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# A stamp is touched last, so what was interrupted is done again and what is done costs nothing.
$(VENV)/.installed: requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): name a Python 3.11 or newer, as in make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "$(PYTHON) is Python %d.%d, but 3.11 or newer is needed: name one, as in make PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Installing into $(VENV): once, a few minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(IN_VENV) pip install --quiet --disable-pip-version-check --requirement requirements.txt --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	@$(IN_VENV) pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	@$(IN_VENV) pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(VENV)/.installed-cuda: $(VENV)/.installed
	@$(IN_VENV) pip install --quiet --disable-pip-version-check --editable '.[cuda]'
	@touch $@
