# `make help` lists what there is. Targets set up .venv first, as far as they need it; what the
# set-up prints goes to stderr, so that stdout belongs to the program that runs.

PYTHON ?= python3
ARGS ?=
SEEDS ?= 25
export PYTHON

BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
CHECKS := check-tests check-types check-lint check-format check-imports check-stubs

.DEFAULT_GOAL := help
.PHONY: up simulate install check test bench peers results soak format stubs wheel lock clean help $(CHECKS)
ifndef PARALLEL
.NOTPARALLEL:
endif

##@ Run

up: setup-run  ## A whole fleet on this machine; ARGS="--for 60 --json" passes arguments
	@exec $(BIN)/weir up $(ARGS)

simulate: setup-run  ## A fleet and a trace in virtual time; ARGS="FLEET --trace FILE" passes arguments
	@exec $(BIN)/weir simulate $(ARGS)

install: setup-run  ## Only set up .venv; afterwards .venv/bin/weir exists

##@ Work on it

check: setup-dev  ## The fast loop: format, lint, imports, types, stubs, unit and property tests
	@$(MAKE) --no-print-directory --keep-going --jobs=2 PARALLEL=1 $(CHECKS) \
		$(if $(filter output-sync,$(.FEATURES)),--output-sync=target) \
		|| { echo 'make check: failed in what is marked *** above' >&2; exit 1; }

test: setup-test  ## The whole suite, real processes included; ARGS="-k nats" passes arguments
	@$(PYTEST) -m "not slow" $(ARGS)

bench: setup-test  ## Measure: each module of tests/benchmarks; BENCH="choose" picks some
	@for name in $(or $(BENCH),$(patsubst tests/benchmarks/bench_%.py,%,$(wildcard tests/benchmarks/bench_*.py))); do \
		echo "== bench_$$name" >&2; $(BIN)/python -m tests.benchmarks.bench_$$name $(ARGS) || exit 1; done

peers:  ## Get nginx and sglang_router into .peers, for `make bench BENCH=dataplane`
	@sh tools/peers.sh

results: setup-test  ## Simulate all policies and write docs/results.md anew; under 20 CPU-minutes
	@$(BIN)/python -m tests.benchmarks.results --write docs/results.md $(ARGS)

soak: setup-test  ## What takes long: the tests marked slow, and properties on many examples
	@WEIR_TEST_EXAMPLES=search $(PYTEST) -m "not slow" tests/property --timeout 1200 $(ARGS)
	@$(PYTEST) -m slow $(ARGS)

format: setup-dev  ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

stubs: setup-dev  ## Generate weir/api/v1 from proto/
	@$(BIN)/python tools/generate_stubs.py

wheel: setup-dev  ## Build dist/weir-*.whl with what every request runs compiled to C; a minute of CPU
	@WEIR_COMPILE=3 $(BIN)/python -m pip wheel --quiet --disable-pip-version-check \
		--no-build-isolation --no-deps --wheel-dir dist .

lock: setup-dev  ## Resolve requirements/*.lock; ARGS="--upgrade" moves versions
	@sh tools/lock.sh $(ARGS)

clean:  ## Remove .venv and everything generated
	rm -rf .venv .peers build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## Print this
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {print substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

# The parts of `check`, each usable alone once .venv is set up.

check-tests:
	@$(PYTEST) -q -m "not slow" --seeds $(SEEDS) tests/unit tests/property tests/simulation
check-types:
	@$(BIN)/mypy
check-lint:
	@$(BIN)/ruff check .
check-format:
	@$(BIN)/ruff format --check .
check-imports:
	@$(BIN)/lint-imports --no-logo
check-stubs:
	@$(BIN)/python tools/generate_stubs.py --check

# Needs no stamp files here: the script compares checksums and ends at once when nothing changed.
.PHONY: setup-run setup-test setup-dev
setup-run setup-test setup-dev:
	@tools/setup.sh $(@:setup-%=%)
