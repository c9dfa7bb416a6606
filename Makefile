# Two commands: `make demo` shows it, `make test` proves it. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt
STAMP := .venv/.installed
PROTOS := $(sort $(wildcard protos/etalage/v1/*.proto))
STUBS := clients/python
RELEASED := protos/released.binpb
BENCHMARKS := features evaluation engine slate bulk creation restoration diagnosis families experiments reliability control_plane scale

export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo ab-demo serve playground test check stubs dataset train evaluate bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## create .venv and install everything, pinned

$(STAMP): pyproject.toml clients/python/pyproject.toml clients/python/VERSION clients/playground/pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) setuptools
	$(PIP) --no-build-isolation -e clients/python -e clients/playground -e '.[dev]'
	@touch $@

demo: setup  ## images of one product for different shoppers, from nothing to out/demo/
	$(PY) -m server demo

ab-demo: setup  ## a simulated shop tests personalized images; report in out/ab-demo/report.html
	$(PY) -m server.demo.shop

serve: setup  ## run the server in the foreground with the embedded defaults
	$(PY) -m server serve

playground: setup  ## a page on which to try a running server: http://127.0.0.1:8008
	$(PY) -m etalage_playground $(PLAYGROUND_OPTIONS)

test: setup  ## all tests, on up to four cores
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

check: setup  ## format, lint, types, import directions, protos, stubs
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	.venv/bin/lint-imports
	.venv/bin/buf lint
	.venv/bin/buf breaking --against $(RELEASED)
	@$(MAKE) --no-print-directory check-stubs
	$(PY) -m deploy.reference --check
	$(PY) -m deploy.audit

.PHONY: check-stubs
check-stubs: setup
	@fresh=$$(mktemp -d) && trap 'rm -rf $$fresh' EXIT && \
	  $(PY) -m grpc_tools.protoc -I protos --python_out=$$fresh --pyi_out=$$fresh --grpc_python_out=$$fresh $(PROTOS) && \
	  for f in $$(cd $$fresh && find . -name '*.py*'); do \
	    cmp -s $$fresh/$$f $(STUBS)/$$f || { echo "stale stub: $(STUBS)/$$f (run make stubs)"; exit 1; }; done

FUZZ_S ?= 600

.PHONY: fuzz hashes sbom check-image
fuzz: setup  ## look for bytes that do harm, FUZZ_S seconds for each kind; findings go to tests/fuzz/findings/
	$(PIP) -e '.[fuzz]' --no-build-isolation
	for name in requests pictures files; do $(PY) -m tests.fuzz $$name --seconds $(FUZZ_S) || exit 1; done

hashes: setup  ## write the hashes of what constraints.txt pins to deploy/hashes.txt
	$(PY) -m deploy.hashes

sbom: setup  ## what is installed, as CycloneDX, in out/sbom.json
	mkdir -p out
	$(PY) -m cyclonedx_py environment .venv --pyproject pyproject.toml --output-reproducible --of JSON -o out/sbom.json

check-image: setup  ## the Dockerfile without a container: installed, started, healthy, stopped; IMAGE_OPTIONS=--torch-index=URL
	$(PY) -m deploy.check_image $(IMAGE_OPTIONS)

stubs: setup  ## generate stubs from protos/: Python's, and those of LANGUAGES, by default of all whose tools are here
	$(PY) -m grpc_tools.protoc -I protos --python_out=$(STUBS) --pyi_out=$(STUBS) --grpc_python_out=$(STUBS) $(PROTOS)
	$(PY) -m deploy.stubs $(LANGUAGES)

.PHONY: reference released
reference: setup  ## write docs/api.md from the comments of protos/
	$(PY) -m deploy.reference

released: setup  ## take protos/ for what is promised from now on; with each release
	.venv/bin/buf build --exclude-source-info -o $(RELEASED)

ARTWORKS := out/artworks
NPM := out/npm

dataset: setup  ## fetch the four artists' sets and render catalogue and artworks anew
	mkdir -p $(NPM)
	npm install --silent --no-audit --no-fund --prefix $(NPM) $$($(PY) -m features.world.build --packages)
	$(PY) -m features.world.build --npm $(NPM) --artworks $(ARTWORKS)

CHECKPOINT := out/checkpoint
TRAINING := $(PY) -m diffusion.training --artworks $(ARTWORKS) --run out/train --out $(CHECKPOINT) --student out/fast \
  --yardsticks out/yardsticks --clicks out/train/clicks.parquet $(TRAINING_OPTIONS)

train: setup  ## train the embedded model into out/checkpoint; needs make dataset
ifdef OUTCOMES
	mkdir -p $(CHECKPOINT) && cp -r diffusion/default/. $(CHECKPOINT)
	$(TRAINING) --run out/train-outcomes --clicks $(OUTCOMES) --start diffusion/default generator tastes student
else
	$(TRAINING) encoders autoencoder judge
	$(PY) -m features.simulate --shoppers 5000 --creatives 2048 --seed 7 --home out/train/home --checkpoint $(CHECKPOINT)
	$(PY) -m features.training_set --home out/train/home --checkpoint $(CHECKPOINT) --out out/train/clicks.parquet
	$(TRAINING) generator tastes student baseline
endif

.PHONY: docs manual
docs: setup  ## build the documentation into out/site, strictly; its search works where it is served
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet

manual: setup  ## write what docs/reference says of the code
	$(PY) -m deploy.manual

evaluate: setup  ## how well the shipped model personalizes; out/evaluation/report.html
	$(PY) -m benchmarks.evaluation

bench: setup  ## run all benchmarks; JSON under out/bench/
	for name in $(BENCHMARKS); do $(PY) -m benchmarks.$$name || exit 1; done

PEERS := out/peers/.venv

.PHONY: bench-peers
bench-peers: setup $(PEERS)/.installed  ## measure the server against others; installs them under out/peers/
	$(PY) -m benchmarks.peers $(BENCH_OPTIONS)

$(PEERS)/.installed: benchmarks/peers/servers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.PHONY: soak
soak: setup  ## half an hour at 0.8 of capacity; fails where anything grows; SOAK_OPTIONS=--minutes=5
	$(PY) -m benchmarks.soak $(SOAK_OPTIONS)

.PHONY: bench-gpu
bench-gpu: setup  ## measure the sampling engine on a CUDA device, also at SDXL's size
	$(PY) -m benchmarks.gpu $(BENCH_OPTIONS)

clean:  ## remove what can be made again
	rm -rf out build .mypy_cache .ruff_cache .pytest_cache .hypothesis
