# Sockets by Example. `make` lists what can be made; every target installs what it needs first.

BIN := $(CURDIR)/node_modules/.bin
BUN_VERSION := $(shell sed -n 's/.*"bun": "\(.*\)".*/\1/p' package.json)
export PATH := $(BIN):$(PATH)
export DENO_DIR := $(CURDIR)/node_modules/.cache/deno
export DENO_NO_UPDATE_CHECK := 1
export npm_config_update_notifier := false

.PHONY: help demo lessons lesson test matrix check fmt index bench ci setup clean

# A lesson that is given as a goal: `make lesson 2.1`.
WORDS := $(filter-out $(shell sed -n 's/^\([a-z]*\):.*/\1/p' Makefile),$(MAKECMDGOALS))
ifneq ($(filter lesson test matrix copy,$(firstword $(MAKECMDGOALS))),)
  ifneq ($(WORDS),)
    $(error write it with L=: make $(firstword $(MAKECMDGOALS)) L=$(firstword $(WORDS)))
  endif
endif

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: setup ## a dialog over TCP and a real download, both ends side by side
	@bun tests/commands/demo.ts

lessons: setup ## list the lessons
	@bun tests/commands/lesson.ts

lesson: setup ## play one lesson live: make lesson L=2.1, or L=udp/send
	@bun tests/commands/lesson.ts "$${L:?which one? make lesson L=2.1, or L=udp/send}"

# EVERYTHING=1: what goes wrong, on all three runtimes, and what takes long.
test: setup ## play every head on Bun, and test lib and what goes wrong; of one lesson: L=2.1, on Node: ON=node
	@bun tests/commands/test.ts "$$L"

matrix: setup ## play every head with both ends on each of Bun, Node and Deno; of one lesson: L=2.1
	@bun tests/commands/matrix.ts "$$L"

copy: setup ## take one lesson along, with what it imports: make copy L=3.1 TO=DIR
	@bun tests/commands/copy.ts "$$L" "$$TO"

check: setup ## types, format, lint, and that README and heads are up to date
	@bun tests/commands/check.ts

fmt: setup ## format the code
	@deno fmt -q

index: setup ## write the lesson tables of the READMEs
	@bun tests/commands/index.ts

bench: setup ## measure time and memory, beside known tools in the same run
	@for file in tests/bench/*.ts; do echo "== $$file"; bun $$file || exit 1; done

ci: setup ## all that must hold: check, test, matrix
	@$(MAKE) check
	@EVERYTHING=1 $(MAKE) test
	@$(MAKE) matrix

setup: node_modules/.installed ## install the packages and the three runtimes, below node_modules

# Bun installs from bun.lock. Where it is not there in this version, npx brings it. A second install leaves in
# deno's place a Node script that starts it, and a signal to that one does not reach it: deno mends that itself.
node_modules/.installed: package.json bun.lock
	@if [ "$$(bun --version 2>/dev/null)" = "$(BUN_VERSION)" ]; then bun install --frozen-lockfile; \
	else npx --yes bun@$(BUN_VERSION) install --frozen-lockfile; fi
	@node node_modules/deno/install.cjs
	@touch $@

clean: ## remove what was installed
	rm -rf node_modules
