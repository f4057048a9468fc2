# make book [PRESET=smoke|quick|long|paper] [JOBS=n] · make test · make notebooks · make links · make bench · make clean
PRESET ?= quick
JOBS ?= all
PY := .venv/bin/python
# Another build of the same torch, for instance one for a GPU, can be named here.
TORCH ?= $(shell sed -n 's/^\(torch==.*\)/\1/p' requirements.lock)
SYSTEM_PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
# Messages of tools are read by people and by tests: the same in every locale.
export LC_ALL := C.UTF-8
export PYTHONUTF8 := 1

.PHONY: book test notebooks links bench clean lock
book: .venv/.done
	@mkdir -p _build/logs
	@$(PY) -m snakemake --cores $(JOBS) --config preset=$(PRESET) --quiet host progress rules reason \
	  --rerun-incomplete --nolock --keep-going 2>_build/logs/snakemake.log \
	  || { tail -n 8 _build/logs/snakemake.log >&2; exit 1; }; echo "book: _build/html/index.html"

test: .venv/.done
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy
	@# Two workers share the cores with what they start; a second thread of each would only wait.
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --ignore tests/test_training.py
	@$(PY) -m pytest tests/test_training.py

notebooks: .venv/.done
	@$(PY) -m lowdose_utils notebooks

# Whether the links of the last built book lead somewhere; needs the network, and `make book` before.
links: .venv/.done
	@$(PY) -m lowdose_utils links

bench: .venv/.done
	@$(PY) -m benchmarks

# One environment for everything. The stamp is written last, so that a broken installation is tried again.
.venv/.done: requirements.lock pyproject.toml
	@test -n "$(SYSTEM_PYTHON)" || { echo "make: no Python 3.11 or newer with venv found; install one, or name it: make SYSTEM_PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(PY) || "$(SYSTEM_PYTHON)" -m venv .venv
	@echo "installing into .venv (some minutes the first time)"
	@$(PY) -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lock: .venv/.done
	@{ sed -n '1,3p' requirements.lock; $(PY) -m pip list --format freeze --exclude-editable --exclude torch --exclude pip; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean:
	@rm -rf _build book/sections book/generated
