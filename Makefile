# Everything from a bare clone with only Python 3.10+ on the machine: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS := 1
export HF_HUB_OFFLINE := 1
export WANDB_MODE := offline
export TOKENIZERS_PARALLELISM := false
export RM_MONITOR_AXE ?= $(CURDIR)/.browser/package/axe.min.js

.PHONY: demo test lint browser faults mutants hosts hosts-quick floors pictures docs dist clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,demo]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/rm-monitor demo --output-dir demo

test: $(VENV)/.installed lint
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.installed       # the site, in site/, strict; python -m http.server -d site shows it
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build -d site

dist: $(VENV)/.installed       # sdist and wheel in dist/, checked; the wheel runs the demo in an environment of its own
	rm -rf dist .dist
	$(BIN)/python -m pip install -q -c constraints.txt build twine
	$(BIN)/python -m build -q --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv .dist
	.dist/bin/python -m pip install -q -c constraints.txt dist/*.whl
	cd .dist && bin/rm-monitor --version && bin/rm-monitor demo --output-dir demo

pictures: demo                  # those of the README and of docs/; needs Chromium
	$(BIN)/rm-monitor report demo
	$(BIN)/python -m tests.report.picture demo/_rm_monitor/report.html docs/images/page.png --height 765
	cp demo/curve.svg docs/demo.svg

browser:                        # Chromium and axe-core: without them the tests of the page in a browser are skipped
	command -v chromium || (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium)
	mkdir -p .browser
	cd .browser && npm pack --silent axe-core@4.14.1 && tar xzf axe-core-4.14.1.tgz package/axe.min.js

faults: $(VENV)/.installed
	RM_MONITOR_LIVES=5000 $(BIN)/python -m pytest -q -o timeout=0 tests/test_life.py
	$(BIN)/python -m tests.faults
	$(BIN)/python -m tests.http_faults

mutants: $(VENV)/.installed    # one line of ours broken at a time: a test must notice
	$(BIN)/python -m tests.mutants

hosts: $(VENV)/.installed      # real hosts, each in an environment of its own: minutes, gigabytes
	$(BIN)/python integrations/hosts.py $(HOSTS)

hosts-quick:                    # those that are built in a minute: Lightning, Fabric, accelerate, the loggers
	$(MAKE) hosts HOSTS=quick

floors: $(VENV)/.installed     # the oldest allowed version of every dependency
	$(BIN)/python integrations/hosts.py --floors

clean:
	rm -rf $(VENV) .dist .hosts .browser demo site build dist .mypy_cache .ruff_cache .pytest_cache
