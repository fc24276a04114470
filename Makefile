# Sockets by Example. `make` lists what can be made; every target installs what it needs first.

# By their paths, not by PATH: make 3.81 (macOS) starts simple recipes without the PATH that is set here.
BUN := node_modules/.bin/bun
DENO := node_modules/.bin/deno
# Debian keeps ip, tc and nft where an ordinary user's PATH does not lead.
export PATH := $(PATH):/usr/sbin:/sbin
export DENO_DIR := $(CURDIR)/node_modules/.cache/deno
export DENO_NO_UPDATE_CHECK := 1
export npm_config_update_notifier := false

.PHONY: help demo lessons lesson practice practice-soak wire lab test flaky matrix site serve ladders copy check fmt index fuzz mistakes hostile bench ci setup clean

# A lesson that is given as a goal: `make lesson 2.1`.
WORDS := $(filter-out $(shell sed -n 's/^\([a-z]*\):.*/\1/p' Makefile),$(MAKECMDGOALS))
ifneq ($(filter lesson practice wire lab test flaky matrix hostile copy,$(firstword $(MAKECMDGOALS))),)
  ifneq ($(WORDS),)
    $(error write it with L=: make $(firstword $(MAKECMDGOALS)) L=$(firstword $(WORDS)))
  endif
endif

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: setup ## a dialog over TCP and a real download, both ends side by side
	@$(BUN) tests/commands/demo.ts

lessons: setup ## list the lessons
	@$(BUN) tests/commands/lesson.ts

lesson: setup ## play one lesson live: make lesson L=2.1, or L=udp/send
	@$(BUN) tests/commands/lesson.ts "$${L:?which one? make lesson L=2.1, or L=udp/send}"

# CHECK=all judges without a keyboard (JSON=1, DIR=folder, ON=node); L=3.3 begins there.
practice: setup ## write the calls yourself: each file is judged when you save it
	@$(BUN) tests/commands/practice.ts

# TIMES=100 says how often, ON=node on which runtime alone, L=tcp/client whose; MINUTES=30 ends it, FROM=4 goes on.
practice-soak: setup
	@$(BUN) tests/practice/soak.ts

# SVG=file draws a picture, too; PCAP=file writes what Wireshark opens.
wire: setup ## see what a lesson puts on the wire: make wire L=3.1 SVG=file
	@$(BUN) tests/commands/wire.ts "$${L:?which one? make wire L=2.1, or L=udp/send}"

# RUN="alice ping -c 1 bob" runs one line, L=2.1 plays a lesson between hosts, T=1 gives each host a pane of tmux.
lab: setup ## open a shell in a small internet on this machine
	@$(BUN) tests/commands/lab.ts

# EVERYTHING=1: what goes wrong, on all three runtimes, and what takes long.
test: setup ## play every lesson, test what can go wrong (L=2.1 ON=node)
	@$(BUN) tests/commands/test.ts "$$L"

# RUNS=100 says how often, idle and with all cores busy; FROM=40 MINUTES=90 does a part of it.
flaky: setup ## the tests again and again: what fails now and then? (L=4.3)
	@$(BUN) tests/commands/flaky.ts "$$L"

matrix: setup ## play each lesson, both ends on Bun, Node and Deno (L=2.1)
	@$(BUN) tests/commands/matrix.ts "$$L"

site: setup ## build the course as pages, in site/out
	@$(BUN) site/build.ts

# PORT=8000 chooses the port.
serve: setup ## build the pages, and show them at a local port
	@$(BUN) site/serve.ts

ladders: setup ## record anew what the lessons of the pages put on the wire
	@$(BUN) site/ladders.ts

copy: setup ## take a lesson along, all it needs: make copy L=3.1 TO=DIR
	@$(BUN) tests/commands/copy.ts "$$L" "$$TO"

check: setup ## types, format, lint, and that README and heads are up to date
	@$(BUN) tests/commands/check.ts

fmt: setup ## format the code
	@$(DENO) fmt -q

index: setup ## write the lesson tables of the READMEs
	@$(BUN) tests/commands/index.ts

# A failure prints a seed: SEED=N tries the same inputs again.
fuzz: setup ## try the parsers with a million inputs each (CASES=N SEED=N)
	@CASES=$${CASES:-1000000} $(BUN) test tests/course/properties.test.ts

# M=2.6: known ones that have this in their words; F=lib/ip.ts: each guard of a file is left out, one at a time.
mistakes: setup ## put mistakes into a copy: does a test notice? (M=2.6)
	@$(BUN) tests/commands/mistakes.ts "$$M" "$$F"

# L=3.1 chooses a lesson, ON=node the runtime.
hostile: setup ## play every fault of network and peer against every script
	@$(BUN) tests/commands/hostile.ts "$$L"

# ROW=small one row, RUNS=3, SIZE=100M, JSON=file for the figures: tests/bench/README.md
bench: setup ## measure time and memory beside known tools (ROW=checked)
	@$(BUN) tests/bench/index.ts

ci: setup ## all that must hold: check, test, matrix
	@$(MAKE) check
	@EVERYTHING=1 $(MAKE) test
	@$(MAKE) matrix

setup: ## install the packages and the three runtimes in node_modules
	@sh tests/commands/setup.sh

clean: ## remove what was installed
	rm -rf node_modules
