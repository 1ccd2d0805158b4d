# The two main commands are `make run` and `make test`; `make help` lists the others.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/made
CHANNEL := adnlib.panels.server.NoDelay
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup run book site app class lint quick test test-browser lab stubs clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

# Made once, and again when pyproject.toml or constraints.txt is newer.
$(MADE): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	@echo "environment: installing into $(VENV) (some gigabytes, a minute or more)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv pip install --quiet --compile-bytecode --constraint constraints.txt --editable '.[test]'
	@touch $@ && echo "environment: ready in $(VENV)"

setup: ## make the environment, fetch data and weights where they are missing
	@if $(MAKE) --question --no-print-directory $(MADE); then echo "environment: up to date in $(VENV), nothing installed"; \
	else $(MAKE) --no-print-directory $(MADE); fi
	@$(BIN)/adn fetch
	@$(BIN)/python site/npm_packages.py --if-npm

run: setup ## train DifferNet and AttentDifferNet on real images and compare them
	@$(BIN)/adn run

book: setup ## execute every notebook, in order
	@$(BIN)/adn book

site: setup ## build the site in build/site from the executed notebooks of make book
	@$(BIN)/python site/make_site.py

app: setup ## the panels of 10_explore as a web page without code, on this machine, for those who have its token
	@cd notebooks && JUPYTER_PATH=$(CURDIR)/adnlib/panels ../$(BIN)/python -m adnlib.panels.app 10_explore.ipynb \
		--Voila.ip=127.0.0.1 --template=explore --Voila.kernel_websocket_connection_class=$(CHANNEL)

class: setup ## JupyterHub for a class on this machine, see deploy/README.md
	@$(BIN)/python -m jupyterhub --config deploy/jupyterhub_config.py

lint: $(MADE) ## style, format and types
	@$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/basedpyright --level error

quick: $(MADE) ## the tests of an edit loop: no notebook, no process, no real training
	@$(PYTEST) -m "not notebook and not process and not slow"

test: setup ## all tests except those that need a browser
	@$(PYTEST)

test-browser: setup ## the panels and the live page, in a real Chromium
	@$(BIN)/python -m pytest tests/browser

stubs: setup ## write into the notebooks what is generated: exercises, 07_train's parameters
	@$(BIN)/adn stubs

lab: setup ## JupyterLab on the notebooks, on this machine only
	@$(BIN)/jupyter lab --ip=127.0.0.1 --notebook-dir=notebooks --ServerApp.kernel_websocket_connection_class=$(CHANNEL) \
		$(if $(filter 0,$(shell id -u)),--allow-root)

clean: ## remove the environment and the results; downloads stay
	rm -rf $(VENV) runs build
