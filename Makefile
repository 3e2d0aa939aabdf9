# make help lists the targets. Each does its own set-up; images and state live in the XDG folders, never in here.
PREFIX ?= /usr/local
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

help: ## What there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r name text; do printf '  make %-15s %s\n' "$$name" "$$text"; done

demo: ## From a fresh Debian or Ubuntu machine with Rust to three pipelines run on VMs
	@tools/demo

demo-containers: ## A project of other authors in containers on a VM, with a service and a plugin; images made here (root)
	@tools/demo-containers

check: ## Between two edits: format, fences, lints, unit tests
	@tools/check

test: ## The whole suite: format, lints, fences, generated files, fuzzing, tests, real VMs
	@tools/test

build: ## The program kiln and the static agent, in target/release
	@tools/build

image: build ## The default VM image, once
	@tools/packages
	@tools/image

conformance: ## Any agent held to the protocol: AGENT=https://HOST:PORT CA=, CERT=, KEY=FILE [SERVER_NAME=] [FORMAT=json] [ONLY=]
	@cargo run --locked --quiet -p kiln-agent-conformance -- $(AGENT) $(if $(CA),--ca $(CA)) $(if $(CERT),--cert $(CERT)) \
		$(if $(KEY),--key $(KEY)) $(if $(SERVER_NAME),--server-name $(SERVER_NAME)) $(if $(FORMAT),--format $(FORMAT)) \
		$(foreach word,$(ONLY),--only $(word))

bench: ## The benchmarks of the agent and the runner
	@tools/bench

corpus: ## Real pipelines of other projects, in containers with real tools, to their end (root): [ONLY=WORD] [AGAIN=1] [FORMAT=json]
	@tools/packages
	@cargo run --locked --quiet --workspace --bin kiln-corpus-runs -- $(foreach word,$(ONLY),--only $(word)) $(if $(FORMAT),--format $(FORMAT)) $(if $(AGAIN),--again)

nightly: ## What takes too long for each change: long simulations, many kills, the runner's benchmarks
	@tools/nightly

generate: ## The generated files: docs/, THIRD-PARTY-NOTICES.txt
	cargo xtask generate

install: ## kiln, its agent and their notices into PREFIX (default /usr/local)
	@test -x $(TARGET_DIR)/release/kiln-agent || tools/build
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(TARGET_DIR)/release/kiln $(TARGET_DIR)/release/kiln-agent $(DESTDIR)$(PREFIX)/bin/
	install -d $(DESTDIR)$(PREFIX)/share/doc/kiln
	install -m 644 LICENSE THIRD-PARTY-NOTICES.txt $(DESTDIR)$(PREFIX)/share/doc/kiln/

.PHONY: help demo demo-containers check test corpus nightly build image conformance bench generate install
