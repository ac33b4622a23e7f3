# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Both make what they need first (.venv from the lock; see tools/setup.sh).

PY := .venv/bin/python
WORKBENCH := .venv/bin/workbench
TRACK ?= governed
ONLY ?=
WORKERS ?= 2

# Threads that wait should sleep: on a machine shared with others, spinning costs fourfold time.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0

.PHONY: setup demo test prove measure lab lint lock clean

setup:            ## .venv with everything, pinned
	@tools/setup.sh

demo: setup       ## the main job: from data to a release that serves, is watched and taken back
	@$(PY) tools/demo.py --track $(TRACK) $(if $(SHUFFLE),--shuffle $(SHUFFLE)) $(if $(ONLY),--only $(ONLY))

test: setup       ## the suite (≤ 15 minutes on 2 cores), fast tests first
	@$(PY) -m pytest -m "not prove" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

prove: setup      ## the long campaigns
	@$(PY) -m pytest -m prove -s $(ARGS)

measure: setup    ## every figure of docs/measures.md; ONLY=<topic> for one
	@$(PY) tools/measure.py $(ONLY)

lab: setup        ## JupyterLab with the research notebooks
	@.venv/bin/jupyter lab --notebook-dir=. notebooks

lint: setup       ## style of code, form of stage notebooks, docs/assurance.md as its rows say
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && $(PY) tools/house.py && $(PY) tools/assurance.py --check

lock: setup       ## write requirements/lock.txt anew
	@tools/lock.sh

clean:            ## what runs and tests left; .venv stays
	@chmod -R u+w runs/research runs/governed demo 2>/dev/null; rm -rf runs/research runs/governed demo build dist
