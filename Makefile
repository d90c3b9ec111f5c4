# make run | test | demo | bench | lint | docs | clean
#
# Everything runs in .venv, which is made when it is missing and brought up to date when setup.cfg
# has changed. PYTHON names the interpreter to make it with, ARGS goes to the command
# (`make test ARGS='tests/unit -k backoff'`, `make bench ARGS=storage`), APT=no forbids to install
# system packages.

PYTHON ?= python3
APT ?= yes
ARGS ?=
# Test files run side by side in so many processes: the longest ones mostly wait for real timers.
JOBS ?= 3

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TEST_READY := $(VENV)/.ready-for-tests

export PYTHON APT
.DEFAULT_GOAL := help
.PHONY: help run demo test lint bench docs clean

help:
	@sed -n '1,6s/^# \{0,1\}//p' Makefile

run: $(READY)
	@exec $(BIN)/python main.py serve $(ARGS)

demo: $(READY)
	@exec $(BIN)/python main.py demo $(ARGS)

test: $(TEST_READY)
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(TEST_READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(TEST_READY)
	@$(BIN)/python -m bench $(ARGS)

docs: $(READY)
	@$(BIN)/python -m wavisor.config.reference docs/configuration.md
	@$(BIN)/python -m wavisor.http.permission_table docs/permissions.md
	@$(BIN)/python -m wavisor.http.event_table docs/events.md
	@$(BIN)/python -m wavisor.http.collections docs/rest

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@tools/prepare run
	@$(PYTHON) -m venv $(VENV)

$(READY): setup.cfg pyproject.toml tools/prepare | $(VENV)/bin/python
	@tools/prepare run
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(TEST_READY): setup.cfg pyproject.toml tools/prepare | $(VENV)/bin/python
	@tools/prepare test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $(READY) $@
