# Every target works on a fresh clone: the virtual environment is made on first use and again when the lock changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench format proto lock clean

demo: $(STAMP) ## the main job: simulated model servers, Envoy, picker and adapter, with a comparison at the end
	$(BIN)/infscale demo

test: $(STAMP) ## all tests this machine can run
	$(BIN)/pytest -q

check: $(STAMP) ## format, lint, import contracts, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/pytest -q

bench: $(STAMP) ## measure the budgets of the design; prints a table and names the JSON file
	$(BIN)/python -m bench

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: $(STAMP) ## regenerate the protobuf modules from picker/proto
	$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. picker/proto/*.proto

lock: $(STAMP) ## pin every dependency with its hashes
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --extra demo --group dev -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
