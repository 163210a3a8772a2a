# Everything happens in .venv, which is made when it is first needed.  Python 3.11 or newer and make are enough.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: help demo test test-compiled check bench docs gallery clean

help:
	@echo "make demo   explain, plan and train: the reference example, then a network on 1,797 images"
	@echo "make test   the test suite, and the derivatives in one test of 32 once more by wg.jit with machine code"
	@echo "make test-compiled  the tests of derivatives, and every derivative in them once more by wg.jit"
	@echo "make check  linting, formatting, types"
	@echo "make bench  the benchmarks, side by side with other libraries"
	@echo "make docs   the documentation site, in build/site, with the gallery"
	@echo "make gallery  a page for each of ten functions, in build/gallery"
	@echo "make clean  remove .venv and all that was built"

demo: .venv/.demo
	@OMP_NUM_THREADS=1 $(BIN)/python examples/demo.py  # threads do not pay at this size, and suffer on a busy machine

test: .venv/.test .venv/.packages .venv/.executors
	$(BIN)/pytest -n 2 --dist loadgroup --compiled=part

test-compiled: .venv/.test
	$(BIN)/pytest -n 2 --dist loadgroup --compiled=all tests/golden tests/internals tests/correctness tests/interface

check: .venv/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict

bench: .venv/.bench .venv/.executors
	$(BIN)/python benchmarks/report.py
	@for file in starting overhead short_functions jit elimination planning examples loops nested native_loops checkpoints executors; do echo "== $$file"; $(BIN)/python benchmarks/$$file.py || exit 1; done

gallery: .venv/.docs
	@$(BIN)/python docs/generate_gallery.py

docs: gallery
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "wengert needs Python 3.11 or newer; name yours: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv

# One stamp for each extra: it is installed once, and again when pyproject.toml changes.
.venv/.%: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$*]"
	@touch $@

clean:
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
