# Two doors: `make run` (a demonstration) and `make test` (everything the tests need, and the tests).
PYTHON ?=
RELEASE ?= trixie
TARGET ?= test
ROOT ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-debian check bench fuzz torture thunderbird unit interop faults packages clean

run: $(VENV)/.run
	@$(BIN)/beffroi demo

test: $(VENV)/.test packages
	@deploy/test.sh

check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/house

unit: $(VENV)/.test
	$(BIN)/pytest -q -m "not interop and not faults"

interop: $(VENV)/.test packages
	$(BIN)/pytest -q -m interop

faults: $(VENV)/.test packages
	$(BIN)/pytest -q -m faults

bench: $(VENV)/.test packages
	@deploy/packages.sh valgrind
	$(BIN)/python -m benchmarks $(ARGS)

torture: $(VENV)/.test packages
	$(BIN)/python -m tests.torture $(ARGS)

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

# A real Thunderbird on a virtual screen; apart from `make test` for its 250 MB of packages.
thunderbird: $(VENV)/.test
	@deploy/packages.sh thunderbird xvfb
	$(BIN)/pytest -q tests/thunderbird/day.py

# Everything again in a Debian of another release; apart from `make test` for the system that is installed for it.
test-debian:
	@deploy/debian.sh $(RELEASE) $(TARGET) $(ROOT)

packages:
	@deploy/packages.sh

# After an upgrade of the system its Python finds none of the packages that were installed for the one before.
ifneq ($(shell $(BIN)/python -c 'import pip; print(1)' 2>/dev/null),1)
.PHONY: $(VENV)/.venv
endif

$(VENV)/.venv:
	@deploy/venv.sh $(VENV) $(PYTHON)

$(VENV)/.run: $(VENV)/.venv requirements/run.lock requirements/build.lock pyproject.toml
	@deploy/install.sh $(VENV) requirements/run.lock
	@touch $@

$(VENV)/.test: $(VENV)/.venv requirements/test.lock requirements/build.lock pyproject.toml
	@deploy/install.sh $(VENV) requirements/test.lock
	@touch $@ $(VENV)/.run

$(VENV)/.fuzz: $(VENV)/.test requirements/fuzz.lock
	@deploy/install.sh $(VENV) requirements/fuzz.lock
	@touch $@

clean:
	rm -rf $(VENV) demo-data .pytest_cache .mypy_cache .ruff_cache
