# Rover's chores. `make help` lists them. Everything works as root on a fresh Debian 12 machine.
SHELL := /bin/bash
VENV := .venv
UV := .tools/uv/bin/uv
PY := $(VENV)/bin/python
PACKAGES := rover_core $(notdir $(wildcard bpf/rover_* plugins/*/rover_* plugins/*/*/rover_*))
PROJECTS := pyproject.toml $(shell find bpf plugins examples -name pyproject.toml -not -path '*/.*')
PROTOS := $(shell find plugins -name '*.proto')
# Distributions that compile something: built anew, since uv does not know when what they made is gone.
COMPILED := $(shell grep -l 'build.hooks.custom' $(PROJECTS) | xargs -r sed -n 's/^name = "\(.*\)"/--reinstall-package \1/p')
ARGS ?=
# Of `make test-kernels`: suites of Debian, and where their kernels and the image they boot are kept.
KERNELS ?= bookworm bookworm-backports
KERNEL_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rover/kernels
# Of `make test-kprobes`: probes taken, either way compared, stacks shipped on and off CPU.
KPROBE_TESTS := tests/kernel/test_probe_plans.py plugins/offcpu/tests/test_unfinished.py \
	plugins/oncpu/tests/test_whole_stacks.py::test_cpython_is_whole_down_to_its_start

.PHONY: help run test lint type imports unit kernel test-e2e test-kernels test-kprobes packaging fuzz bench clean

help: ## List the chores
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

run: $(VENV)/.ready ## Profile this host for 15 seconds (ARGS='--duration 60 --demo' to change)
	@$(VENV)/bin/rover run --duration 15 $(ARGS)

test: lint type imports unit kernel packaging ## Everything that must hold

lint: $(VENV)/.ready ## Style and mistakes
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

type: $(VENV)/.ready ## Types, strictly
	$(VENV)/bin/mypy $(PACKAGES:%=-p %)

imports: $(VENV)/.ready ## Who may import whom
	$(VENV)/bin/lint-imports

unit: $(VENV)/.ready ## Fast tests, no root needed
	$(PY) -m pytest -n auto --dist loadfile -m 'not kernel and not packaging and not servers'

kernel: $(VENV)/.ready ## Tests on this machine's kernel; need root
	$(PY) -m pytest -m 'kernel and not servers'

test-e2e: $(VENV)/.ready ## Tests against large servers (minutes); need root
	@bash tests/apt-install servers
	$(PY) -m pytest -m servers

test-kernels: $(VENV)/.ready ## Kernel tests on kernels with kprobes, in emulated machines (minutes)
	@bash tests/kernels/build-image '$(KERNEL_CACHE)' $(KERNELS)
	@UV=$(UV) $(PY) tests/kernels/run.py --cache '$(KERNEL_CACHE)' $(ARGS) $(KERNELS)

test-kprobes: ## Those of them that kprobes make a difference to, on Debian's 6.1
	@$(MAKE) --no-print-directory test-kernels KERNELS=bookworm ARGS="--tests '$(KPROBE_TESTS)'"

packaging: $(VENV)/.ready ## Wheels, and what a plain install of each subset holds
	$(PY) -m pytest -m packaging

fuzz: $(VENV)/.ready ## Feed every protocol's parser nonsense (ARGS=seconds for each, default 600)
	ROVER_FUZZ_SECONDS=$(or $(ARGS),600) $(PY) -m pytest -q -k test_fuzzed plugins/protocols

bench: $(VENV)/.ready ## Costs side by side with bcc, bpftrace and perf (minutes; ARGS=--quick)
	@bash tests/apt-install bench
	@$(PY) tests/bench/oncpu.py $(ARGS)
	@echo; $(PY) tests/bench/offcpu.py $(ARGS)
	@echo; $(PY) tests/bench/whole.py $(ARGS)
	@echo; $(PY) tests/bench/unwind.py $(filter --quick,$(ARGS))
	@echo; $(PY) tests/bench/parts.py $(filter --quick --json,$(ARGS))
	@echo; $(PY) tests/bench/discovery.py $(filter --quick --json,$(ARGS))
	@echo; $(PY) tests/bench/continuous.py $(filter --quick --json,$(ARGS))
	@echo; PYTHONPATH=tests/support $(PY) tests/bench/wire.py $(filter --quick --json,$(ARGS))
	@echo; $(PY) tests/bench/network.py $(ARGS)

clean: ## Remove what make made
	rm -rf $(VENV) .tools build dist
	find plugins -name '*_pb2.py*' -delete

$(VENV)/.ready: $(PROJECTS) $(PROTOS) $(UV) .tools/apt
	test -x $(PY) || $(UV) venv --quiet --python /usr/bin/python3 --system-site-packages $(VENV)
	$(UV) sync --quiet --all-packages --all-extras $(COMPILED)
	@touch $@

$(UV):
	python3 -m venv --clear .tools/uv || { apt-get install -y --no-install-recommends python3-venv && python3 -m venv --clear .tools/uv; }
	.tools/uv/bin/pip install --quiet 'uv>=0.5'

# What pip cannot bring: BCC, and the compilers and servers that the tests profile.
.tools/apt: tests/apt-install $(wildcard $(addsuffix /tests/debian-packages,$(dir $(PROJECTS))))
	mkdir -p .tools
	bash tests/apt-install
	@touch $@
