# Everything is run from the checkout. Each target sets up what it needs: Python >= 3.11 and make are enough.
PYTHON ?= python3
ARGS ?=
# Processes that run tests, each with a server of its own. They wait more than they work: more than there are cores.
JOBS ?= 3

INSTALL = .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes
COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url --no-emit-find-links

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo chaos test check lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: .venv/runtime.stamp ## Make .venv with what the program needs (demo and test do so by themselves)

demo: .venv/runtime.stamp ## Run a few hundred orders through a simulated portal, killing a worker (ARGS="--orders 50")
	.venv/bin/python cli.py demo $(ARGS)

chaos: .venv/runtime.stamp ## Kill workers and restart the server for some minutes, then compare (ARGS="--minutes 5 --seed 7")
	.venv/bin/python cli.py chaos $(ARGS)

test: .venv/development.stamp ## Run the tests (ARGS="-k publish" for some of them, JOBS=0 in one process)
	.venv/bin/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

check: .venv/development.stamp ## Check style, types, import contracts, dependencies and migrations
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/deptry .
	.venv/bin/squawk migrations/*.sql

lock: .venv/development.stamp ## Write the lock files anew after a change of pyproject.toml (ARGS=--upgrade for the newest)
	$(COMPILE) $(ARGS) pyproject.toml --output-file requirements.lock
	$(COMPILE) $(ARGS) pyproject.toml --extra dev --constraints requirements.lock --output-file requirements-dev.lock

clean: ## Remove what make and the tools have made; the embedded server's data stays (cli.py db reset)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The program alone for the demo, and on top of it the tools, at the same versions, for everything else.
.venv/runtime.stamp: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3' >&2; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv --clear .venv
	$(INSTALL) -r requirements.lock
	@# The program is run from the checkout, also by programs that do not look there: procrastinate --app=…
	@.venv/bin/python -c 'import os, site; open(os.path.join(site.getsitepackages()[0], "tallyman.pth"), "w").write(os.getcwd())'
	@touch $@

.venv/development.stamp: requirements-dev.lock .venv/runtime.stamp
	$(INSTALL) -r requirements-dev.lock
	@touch $@
