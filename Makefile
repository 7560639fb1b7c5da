# Every target makes the virtual environment it needs; nothing is installed globally. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SECONDEXPANSION:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
CORPUS ?= wordnet

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install -qq --constraint constraints.txt
TORCH := torch==2.13.0

# Generated code meets the reader's protobuf: code of these old tools runs on every newer runtime, not the other way.
PROTO_BIN := .venv-proto/bin
PROTO_PINS := grpcio-tools==1.66.2 grpcio==1.66.2 protobuf==5.27.2 setuptools==80.9.0
PROTO_FILES = $(wildcard proto/negmine/v1/*.proto)
STUBS := client/negmine/v1
PROTOC = $(PROTO_BIN)/python -m grpc_tools.protoc -Iproto $(foreach out,python grpc_python pyi,--$(out)_out=$(1)) $(PROTO_FILES)

.PHONY: help install demo test check bench gpu gpu-full wheels serve proto lock clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# -- what people run --

WORDNET := .cache/wordnet/wordnet_minilm_int8.npz
DEMO_NEEDS_wordnet = $(if $(FULL),$(if $(NEGMINE_DATA),,$(WORDNET)))
DEMO_NEEDS_glove = $(VENV)/.glove

demo: $(VENV)/.runtime $$(DEMO_NEEDS_$(CORPUS)) ## mine a real corpus; CORPUS=wordnet|glove FULL=1 ROWS=n
	@$(BIN)/python -m examples.demo.run --corpus $(CORPUS) $(if $(FULL),--full) $(if $(ROWS),--rows $(ROWS))

install: $(VENV)/.runtime ## put negmine and negmine-server into .venv/bin

serve: $(VENV)/.runtime ## run the server; ARGS='--listen 0.0.0.0:7654 …'
	@exec $(BIN)/negmine-server $(ARGS)

BENCH_TORCH = $(if $(filter training,$(or $(NAME),training)),$(VENV)/.torch)
BENCH_ST = $(if $(filter sentence_transformers,$(or $(NAME),sentence_transformers)),.venv-wordnet/.bench-st)

bench: $(VENV)/.runtime $(VENV)/.bench $(BENCH_TORCH) $(BENCH_ST) ## run the benchmarks; NAME=<file in bench/>, all without
	@$(BIN)/python bench/run.py $(NAME)

# On a machine with a GPU: its own Python, with what is installed there; nothing is downloaded. Wheels of what it lacks
# are taken from the folder WHEELS. Without one, SIMULATE=1 goes through the same steps at toy sizes in seconds.
WHEELS ?= wheels
CARRIED := $(wildcard $(WHEELS)/*.whl)
GPU_PYTHON = $(if $(SIMULATE),$(BIN)/python,$(PYTHON))
GPU_NEEDS = $(if $(SIMULATE),$(VENV)/.runtime $(VENV)/.test $(VENV)/.torch) $(if $(CARRIED),build/gpu-wheels)
GPU_PATH := client:server:bench$(if $(CARRIED),:build/gpu-wheels)
GPU_RUN = PYTHONPATH=$(GPU_PATH) $(GPU_PYTHON) -m gpu $(if $(SIMULATE),--simulate) $(if $(RESULTS),--results '$(RESULTS)')

gpu: $$(GPU_NEEDS) ## tests, fixed grid and sanitizer on a GPU, in 8 minutes; STAGE=name RESULTS=file SIMULATE=1
	@$(GPU_RUN) $(foreach stage,$(STAGE),--stage $(stage))

gpu-full: $$(GPU_NEEDS) ## the rest of the grid: PART=1 to 6, each below 9 minutes; all without
	@$(GPU_RUN) --part $(or $(PART),full)

# What a machine with a GPU may lack, for its Python. Of gRPC's the oldest that we take: they run with every newer grpcio.
FOR ?= 3.12
CARRY_PINNED := annotated-types googleapis-common-protos pydantic pydantic-core pydantic-settings python-dotenv typing-inspection
CARRY_OLDEST := $(foreach name,grpcio-health-checking grpcio-reflection grpcio-status,$(name)==1.66.2)
FETCH = $(PIP) download -qq --no-deps --only-binary=:all: --python-version $(FOR) --dest $(WHEELS) \
  $(foreach age,_2_28 _2_17 2014,--platform manylinux$(age)_x86_64)

wheels: $(VENV)/.pip ## fetch wheels of what a machine with a GPU may lack into wheels/; FOR=3.12
	$(FETCH) --constraint constraints.txt $(CARRY_PINNED)
	$(FETCH) $(CARRY_OLDEST)

build/gpu-wheels: $(CARRIED)
	rm -rf $@
	$(PYTHON) -m pip install -qq --disable-pip-version-check --no-index --no-deps --target $@ $^
	@touch $@

# -- what developers run --

test: $(VENV)/.runtime $(VENV)/.test $(if $(filter 1,$(NEGMINE_TORCH)),$(VENV)/.trainers) ## run the tests; NEGMINE_TORCH=1 with torch and what the client plugs into, ARGS='-k …'
	@$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/.runtime $(VENV)/.test $(VENV)/.check $(VENV)/.torch .venv-proto/.tools ## ruff, mypy, buf, the generated code against the contract, the kernels' machine code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd proto && ../$(BIN)/buf lint
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; mkdir "$$scratch/new" "$$scratch/old"; \
	if git rev-parse --quiet --verify HEAD:proto/negmine >/dev/null; then \
	  git archive HEAD proto | tar -x -C "$$scratch/old"; \
	  (cd proto && ../$(BIN)/buf breaking --against "$$scratch/old/proto"); \
	  echo "buf breaking: none since the last commit"; \
	fi; \
	$(call PROTOC,"$$scratch/new"); \
	diff --recursive --brief --exclude=__pycache__ --exclude=__init__.py "$$scratch/new/negmine/v1" $(STUBS) \
	  || { echo "$(STUBS) is not what proto/ generates: run make proto" >&2; exit 1; }; \
	echo "$(STUBS): as generated"
	@$(BIN)/python .ci/compiled.py

proto: .venv-proto/.tools ## generate client/negmine/v1 from proto/
	rm -f $(STUBS)/*_pb2*.py*
	mkdir -p $(STUBS)
	$(call PROTOC,client)
	printf '"""Generated from proto/negmine/v1; `make proto` writes it anew."""\n' > $(STUBS)/__init__.py

lock: $(VENV)/.pip ## choose new versions of everything and write constraints.txt
	@mkdir -p build
	$(PIP) install -qq --dry-run --ignore-installed --report build/lock.json \
	  --group test --group check --group bench --group bench-st --group glove --group wordnet \
	  pip hatchling $(TORCH) './client[cli,plots,sentence-transformers,lightning]' ./server
	$(BIN)/python .ci/lock.py build/lock.json > constraints.txt.new
	mv constraints.txt.new constraints.txt

clean: ## remove builds and caches
	rm -rf build dist client/dist server/dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## remove the virtual environments too
	rm -rf .venv .venv-*

# -- virtual environments: one stamp for each thing installed --

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else f"Python >= 3.11 is needed, this is {sys.version}")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.pip: constraints.txt | $(BIN)/python
	@$(INSTALL) pip
	@touch $@

$(VENV)/.runtime: client/pyproject.toml server/pyproject.toml $(VENV)/.pip
	$(INSTALL) --build-constraint constraints.txt --editable './client[cli,plots]' --editable ./server
	@touch $@

$(VENV)/.test $(VENV)/.check $(VENV)/.bench $(VENV)/.glove: $(VENV)/.%: pyproject.toml $(VENV)/.pip
	$(INSTALL) --group $*
	@touch $@

# torch comes last and by its full version, so that nothing else chooses a build of it. The rest of the extra `gpu` runs
# without one: the tests emulate kernels, interpret Triton's, and compile both.
$(VENV)/.torch: server/pyproject.toml | $(VENV)/.runtime $(VENV)/.test
	$(INSTALL) $(TORCH)
	$(INSTALL) --build-constraint constraints.txt --editable './server[gpu]'
	@touch $@

# The trainers that the client plugs into, after torch for the same reason.
$(VENV)/.trainers: client/pyproject.toml | $(VENV)/.torch
	$(INSTALL) --build-constraint constraints.txt --editable './client[sentence-transformers,lightning]'
	@touch $@

# The whole WordNet corpus, where NEGMINE_DATA names no folder that holds it: encoded once, in an environment of its own.
$(WORDNET): | .venv-wordnet/.tools
	.venv-wordnet/bin/python -m examples.demo.encode_wordnet

.venv-wordnet/.tools: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-wordnet
	.venv-wordnet/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt pip
	.venv-wordnet/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt $(TORCH)
	.venv-wordnet/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --group wordnet
	@touch $@

# A peer of the benchmarks, in that environment: it needs the same torch and sentence-transformers.
.venv-wordnet/.bench-st: | .venv-wordnet/.tools
	.venv-wordnet/bin/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --group bench-st
	@touch $@

.venv-proto/.tools: Makefile
	$(PYTHON) -m venv .venv-proto
	$(PROTO_BIN)/python -m pip install -qq --disable-pip-version-check $(PROTO_PINS)
	@touch $@
