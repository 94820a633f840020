# On a fresh Debian or Ubuntu with Rust, `make demo` and `make test` do everything, set-up included.

# Where rustup puts cargo, for a shell that was opened before.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help setup build demo stop test lint clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## system packages where they are missing, libtorch in .libtorch, the text encoder in .imprint/encoders
	scripts/system-packages.sh
	scripts/libtorch.sh
	scripts/encoder.sh

build: setup ## target/release/imprint
	cargo build --release --locked

demo: setup ## adapt to drawings of an unseen alphabet, on a server that stays up
	scripts/demo.sh

stop: ## stop the demo's server
	scripts/demo.sh stop

test: setup ## all tests, on SQLite and on a PostgreSQL server of their own
	scripts/system-packages.sh tests
	cargo test --locked
	scripts/python-client.sh

lint: setup ## formatting, clippy, documentation, dependencies, the contract
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --document-private-items
	scripts/deny.sh
	scripts/contract.sh

clean: stop ## remove what was built and the demo's data, but not libtorch
	cargo clean
	rm -f .imprint/demo.* .imprint/serve.*
