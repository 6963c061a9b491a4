# Every target works on a fresh clone: the virtual environment is made on first use and again when its lock changes. What
# serving and the demo need is a part of what developing needs, in the same versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header
SERVING := $(VENV)/.installed-serving
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps
# Real parts of a cluster for tests and the lab, built with Go into a folder of their own.
TOOLS := .cluster
KUBERNETES := $(shell sed -n "s|.*k8s.io/kubernetes v||p" tests/controlplane/go.mod)
VERSION_FLAGS := $(foreach value,gitVersion=v$(KUBERNETES) gitMajor=$(word 1,$(subst ., ,$(KUBERNETES))) gitMinor=$(word 2,$(subst ., ,$(KUBERNETES))),-X k8s.io/component-base/version.$(value))

# The packages with what requests and scrapes pass built to C, in a folder of their own: the sources are what runs everywhere else.
COMPILED := .compiled
# With the folders, which change when a module goes.
SOURCES := $(shell find infscale adapter picker -name '*.py' -o -type d ! -name __pycache__)
COMPILED_TESTS := tests/distribution/test_compiled.py tests/framing tests/test_memo.py tests/latency tests/picker tests/metrics tests/scrape tests/sim/engine tests/e2e/test_disruption.py tests/e2e/reference/test_reference_cases_http.py
# Tests of real parts measure times, start processes and take fixed ports: they run alone, the others on all cores.
REAL := browser or cluster or compiler or envoy or gateway or h2spec or hostile or prometheus or slow or valkey
ON_ALL_CORES := -n auto --dist loadfile -m "not ($(REAL))"
AS_COMPILED := PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(COMPILED):$(CURDIR)

.PHONY: help install demo lab dashboards pictures test test-compiled check bench bench-against simulate-gate routing-table routing-oracle routing-wrong gateway-claims published-orderings tenant-shares goodput rollout-table fuzz soak recordings compiled wheel format proto lock cluster-tools clean

help: ## what there is to make
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(SERVING) ## the virtual environment with infscale, Envoy and what the demo needs

demo: $(SERVING) ## simulated model servers, Envoy, picker and adapter, and three ways to route compared (two minutes)
	@$(BIN)/infscale demo

lab: $(STAMP) $(TOOLS)/controlplane $(TOOLS)/kwok ## a cluster, an HPA, Envoy, picker, adapter and a load that surges, until Ctrl-C
	$(BIN)/python -m lab

dashboards: $(STAMP) ## Grafana's JSON and the rule files, made of the tables in dashboards/
	$(BIN)/python -m dashboards

pictures: $(STAMP) ## the pictures of docs/dashboards.md, from two minutes of load (needs Prometheus and Chromium)
	$(BIN)/python -m tests.dashboards.pictures

test: $(STAMP) ## all tests this machine can run
	$(BIN)/pytest -q $(ON_ALL_CORES)
	$(BIN)/pytest -q -m "$(REAL)"

check: $(STAMP) ## format, lint, import contracts, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/pytest -q $(ON_ALL_CORES)
	$(BIN)/pytest -q -m "$(REAL)"

test-compiled: $(COMPILED)/.built ## the tests of what is compiled, on what was compiled
	INFSCALE_TEST_COMPILED=1 $(AS_COMPILED) $(BIN)/pytest -q -o pythonpath="$(COMPILED) ." $(ON_ALL_CORES) $(COMPILED_TESTS)
	INFSCALE_TEST_COMPILED=1 $(AS_COMPILED) $(BIN)/pytest -q -o pythonpath="$(COMPILED) ." -m "$(REAL)" $(COMPILED_TESTS)

bench: $(COMPILED)/.built ## measure the budgets of the design on what is compiled; prints a table and names the JSON file
	$(AS_COMPILED) $(BIN)/python -m bench

# Another version, built as this one is, to measure both in turns.
AGAINST ?= HEAD~1

bench-against: $(COMPILED)/.built ## CPU of requests and scrapes beside another version's, in turns: AGAINST=REVISION
	rm -rf .against && mkdir .against && git archive $(AGAINST) | tar -x -C .against
	$(MAKE) -C .against compiled
	$(AS_COMPILED) $(BIN)/python -m bench against

# Each target of tests/fuzz for so long; MINUTES is what the soak takes.
SECONDS ?= 300
MINUTES ?= 30

simulate-gate: $(STAMP) ## routing and scenarios in virtual time (two minutes): fails where infscale does not win
	$(BIN)/python -m bench.routing --gate
	$(BIN)/python -m bench.scenarios --gate

routing-table: $(STAMP) ## the table of docs/benchmarks.md (an hour or more; TRACES=FOLDER with the public traces)
	$(BIN)/python -m bench.routing $(if $(TRACES),--traces $(TRACES))

routing-oracle: $(STAMP) ## the same beside an oracle that reads the engines themselves: what is left to gain
	$(BIN)/python -m bench.routing --oracle $(if $(TRACES),--traces $(TRACES))

routing-wrong: $(STAMP) ## the same with latency models wrong by 60 % in either direction, beside the best of the others
	$(BIN)/python -m bench.routing --wrong $(if $(TRACES),--traces $(TRACES))

goodput: $(STAMP) ## what flow control gets through at twice the load, beside the best static limit of each engine (minutes)
	$(BIN)/python -m bench.goodput

gateway-claims: $(STAMP) ## a gateway against a plain Service on four servers, 100 to 1,000 requests a second (minutes)
	$(BIN)/python -m bench.claims

published-orderings: $(STAMP) ## what others published of routing and scaling, and what virtual time says of it (minutes)
	$(BIN)/python -m bench.orderings

tenant-shares: $(STAMP) ## what two tenants get of a full pool, one asking ten times as much (minutes): fails above 5 % off
	$(BIN)/python -m bench.tenant_shares

rollout-table: $(STAMP) ## 1,000 simulated rollouts of equal and of worse versions each: how many are taken back (an hour)
	$(BIN)/python -m bench.rollouts

fuzz: $(STAMP) ## coverage-guided fuzzing of pages, files, bodies, paths and connections, SECONDS=300 each
	$(BIN)/python -W ignore -m tests.fuzz --seconds $(SECONDS)

soak: $(STAMP) ## everything comes and goes under load beside hostile pages, MINUTES=30: nothing healthy fails, memory stays
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

recordings: $(STAMP) $(TOOLS)/controlplane $(TOOLS)/kwok ## tests/doctor/recordings anew: ten minutes of a real HPA controller
	RECORDING_SECONDS=600 RECORDINGS_FOLDER=tests/doctor/recordings $(BIN)/pytest -q tests/cluster/test_replay.py

compiled: $(COMPILED)/.built ## the packages, what requests and scrapes pass built to C (needs a C compiler; two minutes of CPU)

wheel: $(STAMP) ## the same as a wheel in dist/, for images
	rm -rf build dist
	INFSCALE_COMPILE=1 $(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .

cluster-tools: $(TOOLS)/controlplane $(TOOLS)/kwok $(TOOLS)/h2spec $(TOOLS)/envoy-gateway ## control plane, kwok, h2spec and Envoy Gateway (needs Go; minutes the first time)

$(TOOLS)/controlplane: tests/controlplane/go.mod tests/controlplane/go.sum tests/controlplane/main.go
	@tests/controlplane/check-go
	cd tests/controlplane && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w $(VERSION_FLAGS)" -o ../../$@ .

$(TOOLS)/kwok: tests/controlplane/kwok-version
	@tests/controlplane/check-go
	CGO_ENABLED=0 GOBIN=$(CURDIR)/$(TOOLS) go install -trimpath sigs.k8s.io/kwok/cmd/kwok@v$$(cat $<)
	touch $@

$(TOOLS)/h2spec: tests/controlplane/h2spec-version
	@tests/controlplane/check-go
	CGO_ENABLED=0 GOBIN=$(CURDIR)/$(TOOLS) go install -trimpath github.com/summerwind/h2spec/cmd/h2spec@v$$(cat $<)
	touch $@

$(TOOLS)/envoy-gateway: tests/controlplane/envoy-gateway-version
	@tests/controlplane/check-go 1.26.7
	CGO_ENABLED=0 GOBIN=$(CURDIR)/$(TOOLS) go install -trimpath -ldflags "-s -w" github.com/envoyproxy/gateway/cmd/envoy-gateway@v$$(cat $<)
	touch $@

format: $(STAMP) ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: $(STAMP) ## regenerate the protobuf modules from the .proto files beside them
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. picker/proto/*.proto infscale/*/proto/*.proto

lock: $(STAMP) ## pin every dependency with its hashes; an image has its own part, without the demo
	$(LOCK) --extra demo --group dev -o requirements.lock pyproject.toml
	$(LOCK) --extra demo --group build -c requirements.lock -o requirements-serving.lock pyproject.toml
	$(LOCK) -c requirements.lock -o requirements-image.lock pyproject.toml

clean: ## remove everything that was made
	rm -rf $(VENV) $(TOOLS) $(COMPILED) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-build-isolation -e .
	touch $@ $(SERVING)

$(SERVING): requirements-serving.lock pyproject.toml
	@echo "Installing what infscale and its demo need into $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements-serving.lock
	@$(PIP) --no-build-isolation -e .
	@touch $@

# From an empty build folder: setuptools would pack what an earlier build left there.
$(COMPILED)/.built: $(STAMP) setup.py pyproject.toml $(SOURCES)
	rm -rf build $(COMPILED)
	INFSCALE_COMPILE=1 $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --target $(COMPILED) .
	touch $@
