# `make up` starts the service, `make test` tests it; each does all of its own set-up.
PYTHON ?= python3
URL ?= http://127.0.0.1:8000
# Hundreds of processes of the tests would compile the same sources, each for itself.
export PYTHONDONTWRITEBYTECODE :=
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: setup up test faults targets presets check bench clean

setup: .venv/worker.done .venv/dev.done

up: .venv/worker.done
	@exec $(BIN)/normlab-server up

test: setup check
	@scripts/debian-packages.sh postgres:postgresql redis-server:redis-server chromium:chromium
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

faults: setup
	@scripts/debian-packages.sh postgres:postgresql redis-server:redis-server
	$(BIN)/pytest tests/faults --long --figures docs/results/faults.md

targets: setup
	$(BIN)/pytest tests/targets --long

# Needs a service at URL that has MNIST and CIFAR-10; an hour on two cores.
presets: .venv/bench.done
	$(BIN)/python docs/results/presets.py run --url $(URL)
	$(BIN)/python docs/results/presets.py check

check: .venv/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/bench.done
	$(BIN)/python -m benchmarks.loop
	$(BIN)/python -m benchmarks.statistics

clean:
	rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "normlab needs Python 3.11 or newer")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || scripts/debian-packages.sh no-ensurepip:python3-venv
	$(PYTHON) -m venv .venv
	@touch $@

.venv/worker.done: .venv/created pyproject.toml constraints.txt
	$(PIP) --editable '.[worker]'
	@touch $@

.venv/dev.done: .venv/worker.done
	$(PIP) --editable '.[worker,dev]'
	@touch $@

.venv/bench.done: .venv/worker.done
	$(PIP) --editable '.[worker,bench]'
	@touch $@
