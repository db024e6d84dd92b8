# make setup      a virtual environment in .venv with the locked packages and torch
# make packages   the same without mpr itself
# make quickstart setup, then train, search, score and compare on the embedded collection, offline
# make test       setup, then the default test suite
# make test-long  whole runs, kills and several processes, which a change has to pass too
# make test-small a few minutes of it: what differs between Pythons and builds of torch
# make test-floor the same with the oldest versions that pyproject.toml allows
# make check      linters, types, recipes, generated pages, leaderboard
# make faults     what is too slow for the default suite: sweeps of faults, all sixteen systems, every row on a stand-in
# make attack     seeded damage to files, recipes, model folders and runs, and kills: hours on two cores
# make docs       the documentation site, into build/site
# make table      write the generated pages anew: recipes/README.md, recipes/schema.json, plan texts, the leaderboard
# make parity     compare with other people's code, and write the table of docs/parity.md anew: a few minutes
#
# torch is the locked version in the build that pip finds first: on Linux PyPI's, for CUDA. A smaller one, for CPUs only:
#   make setup TORCH_INDEX="--index-url https://download.pytorch.org/whl/cpu"
# A torch that is already in the environment is kept. Without tests and linters: make setup UV_EXPORT=--no-dev

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
UV_EXPORT ?=
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
export OMP_WAIT_POLICY ?= PASSIVE
# Modules that nobody may keep compiled are compiled at each start of Python: with transformers, seconds of a processor.
unexport PYTHONDONTWRITEBYTECODE
export TOKENIZERS_PARALLELISM ?= true

.PHONY: setup packages quickstart test test-long test-small test-floor check faults attack docs table parity clean
setup: $(VENV)/.locked
packages: $(VENV)/.packages

$(VENV)/.locked: $(VENV)/.packages
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# torch comes first, so that the lock's other packages find it and do not pull another build.
$(VENV)/.packages: uv.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/python -c "import torch" 2>/dev/null || \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_INDEX) "$(TORCH)"
	$(BIN)/uv export --quiet --frozen --no-hashes --no-emit-project --prune torch $(UV_EXPORT) --output-file $(VENV)/locked.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement $(VENV)/locked.txt
	touch $@

quickstart: setup
	$(BIN)/mpr reproduce recipes/quickstart.yaml

test: setup
	$(BIN)/python -m pytest -n auto --dist loadfile

# Whole runs, kills and several processes: what takes more than a few seconds and every change has to pass.
test-long: setup
	$(BIN)/python -m pytest -n auto --dist loadfile -m "long and not slow"

test-small: setup
	$(BIN)/python -m pytest -n auto --dist loadfile -m "small and not slow"

# Direct dependencies in their oldest allowed versions, in an environment of their own; not the locked torch.
FLOOR := $(VENV)-floor
test-floor: setup
	$(PYTHON) -m venv $(FLOOR)
	$(BIN)/uv pip install --quiet --no-config --python $(FLOOR)/bin/python --resolution lowest-direct --editable . --group test
	$(FLOOR)/bin/python -m pytest -n auto --dist loadfile -m "small and not slow"

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mpr check $$(find recipes -name '*.yaml' -not -path 'recipes/accelerate/*')
	$(BIN)/mpr reference --check
	$(BIN)/python -m tests.house.rooms --check
	$(BIN)/python -m tests.house.published_files --check
	$(BIN)/mpr leaderboard build --check

faults: setup
	$(BIN)/python -m pytest -n auto --dist loadfile tests/faults tests/e2e tests/attack tests/device tests/unit/recipe -m "slow or not slow"

ATTACK_SEED ?= 0
attack: setup
	$(BIN)/python -m tests.attack files --cases 30000 --seed $(ATTACK_SEED)
	$(BIN)/python -m tests.attack recipes --cases 5000 --seed $(ATTACK_SEED)
	$(BIN)/python -m tests.attack folders --cases 500 --seed $(ATTACK_SEED)
	$(BIN)/python -m tests.attack damages --cases 500 --seed $(ATTACK_SEED)
	$(BIN)/python -m tests.attack kills --cases 200 --seed $(ATTACK_SEED)
	$(BIN)/python -m tests.attack nodes --cases 50 --seed $(ATTACK_SEED)

# The notice that is switched off tells of a successor of mkdocs.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

table: setup
	$(BIN)/mpr reference --write
	$(BIN)/python -m tests.house.rooms --write
	$(BIN)/python -m tests.house.published_files --write
	$(BIN)/mpr leaderboard build

parity: setup
	$(BIN)/python -m pytest -n auto --dist loadfile --write-parity -m "slow or not slow" \
	  $$(grep -rl --include='test_*.py' --exclude-dir=house 'parity: Parity' tests)

clean:
	rm -rf $(VENV) $(FLOOR) .mpr build dist
