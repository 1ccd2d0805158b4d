# The two commands of this project are `make run` and `make test`; `make help` lists the others.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/made
CHANNEL := adnlib.panels.server.NoDelay

.DEFAULT_GOAL := help
.PHONY: help setup run book app test test-browser lab stubs clean

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

setup: ## make the environment, fetch data and weights; what is there already is left alone
	@if $(MAKE) --question --no-print-directory $(MADE); then echo "environment: up to date in $(VENV), nothing installed"; \
	else $(MAKE) --no-print-directory $(MADE); fi
	@$(BIN)/adn fetch

run: setup ## the main job: train DifferNet and AttentDifferNet on real images and compare them
	@$(BIN)/adn run

book: setup ## execute every notebook, in order
	@$(BIN)/adn book

app: setup ## the panels of 10_explore as a page without code, on this machine only
	@cd notebooks && JUPYTER_PATH=$(CURDIR)/adnlib/panels ../$(BIN)/voila 10_explore.ipynb --Voila.ip=127.0.0.1 --template=explore \
		--Voila.kernel_websocket_connection_class=$(CHANNEL)

test: setup ## all tests but those that need a browser
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-browser: setup ## the panels in JupyterLab and Voila, driven by a real Chromium
	@$(BIN)/python -m pytest tests/browser

stubs: setup ## write the exercises into the lessons, from their solutions
	@$(BIN)/adn stubs

lab: setup ## JupyterLab on the notebooks, on this machine only
	@$(BIN)/jupyter lab --ip=127.0.0.1 --notebook-dir=notebooks --ServerApp.kernel_websocket_connection_class=$(CHANNEL) \
		$(if $(filter 0,$(shell id -u)),--allow-root)

clean: ## remove the environment and the results; downloads stay
	rm -rf $(VENV) runs
