# Everything a person or CI runs. `make` alone lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(abspath $(VENV))/bin
DATA ?= data/lits
NAME ?= real
# What `make real` changes in params.yaml; SET adds more, as in SET=train.steps=4000.
REAL := 'split.test_cases=[volume-5]' 'split.same_patient=[[volume-0,volume-1]]' split.folds=4 \
	'preprocess.spacing_mm=[2.5,2.5,2.5]' train.fold=all train.steps=1000 train.validate_every=250 \
	register.model=dyntransnet-liver-$(NAME) register.min_dice_tumor=0
BASE ?= origin/main
# What `make bench` measures with: the demo's model and the scan that it never saw.
MODEL ?= models/onnx
CHECKPOINT ?= models/checkpoint
CACHE ?= data/cache
SCAN ?= data/cases/volume-0/scan.nii.gz
TRUTH ?= data/cases/volume-0/mask.nii.gz
PEER := build/peers/bin/python
# What `make manifest` signs, with which key, and whose signatures `make verify` takes.
FOLDER ?= model_repository
MANIFEST ?= build/manifest.sha256
KEY ?= $(HOME)/.ssh/id_ed25519
SIGNERS ?= $(HOME)/.ssh/allowed_signers
CYCLONEDX := cyclonedx-bom==7.5.0
# In a GitHub workflow a table is shown on the page of the run, too.
SHOW = if [ -n "$$GITHUB_STEP_SUMMARY" ] && [ -f $(1) ]; then cat $(1) >> "$$GITHUB_STEP_SUMMARY"; fi
export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_TRACKING_URI ?= sqlite:///$(abspath mlflow.db)

.PHONY: help install demo real study mlflow serve publish gate regression check test lock docs bench bench-peers soak sbom manifest verify clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed ## make .venv from the lock file

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: install ## data, training, registry, Triton and client on this machine
	dvc repro --quiet
	dyntransnet demo data/cases data/splits.json model_repository --out demo

real: install ## the same on a LiTS folder: make real DATA=path/to/lits
	@dvc exp remove --quiet $(NAME) 2> /dev/null || true
	dvc exp run --temp --name $(NAME) \
		--set-param ingest.layout=lits --set-param ingest.source=$(abspath $(DATA)) \
		$(addprefix --set-param ,$(REAL) $(SET))
	@rm -rf results/$(NAME)
	@for each in params.yaml dvc.lock reports models/onnx model_repository; do \
		dvc get . $$each --rev $(NAME) --out results/$(NAME)/$$each --quiet || exit 1; done
	@echo "results/$(NAME)/reports/evaluate/report.html"

study: install ## train and compare the networks that experiments/params.yaml chooses
	dvc repro experiments/dvc.yaml

mlflow: install ## open the runs and the model registry at http://127.0.0.1:5000
	mlflow server --backend-store-uri $(MLFLOW_TRACKING_URI) --host 127.0.0.1 --port 5000

serve: install ## serve the published model on this machine
	dyntransnet serve model_repository

publish: install ## put what holds the alias in MLflow into model_repository
	dvc repro --single-item --force publish

gate: install ## refuse if Dice may have fallen against the scores committed at BASE, case by case
	@mkdir -p build
	git show $(BASE):reports/evaluate/cases.csv > build/base.csv
	@dyntransnet gate build/base.csv reports/evaluate --patients data/splits.json \
		--parity reports/export/parity.json --markdown build/gate.md; \
		code=$$?; $(call SHOW,build/gate.md); exit $$code

regression: install ## train shortly on small phantoms and hold the scores against regression/cases.csv
	cd regression && dyntransnet regression --out ../build/regression
	@cd regression && dyntransnet gate cases.csv ../build/regression --markdown ../build/regression.md; \
		code=$$?; $(call SHOW,../build/regression.md); exit $$code

check: install ## ruff, mypy --strict, import rules
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test: install ## every test, the pipeline end to end included; a process for each core
	OMP_NUM_THREADS=1 pytest -n logical --dist worksteal

docs: install ## the documentation as a site, to open from build/site/index.html
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

lock: ## resolve requirements.lock anew from pyproject.toml
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet torch==2.13.0 '.[dev]'
	build/lock/bin/python -m pip freeze --exclude dyntransnet | sed 's/+cpu$$//' > requirements.lock

sbom: ## list what the lock file brings, as CycloneDX: build/sbom.json
	$(PYTHON) -m venv build/sbom
	build/sbom/bin/python -m pip install --quiet --disable-pip-version-check $(CYCLONEDX)
	build/sbom/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml \
		--output-reproducible --validate --output-format JSON --output-file build/sbom.json

manifest: ## sign the sha256 of every file of a model folder: make manifest FOLDER=models/onnx KEY=path/to/key
	serving/manifest.sh sign $(FOLDER) $(MANIFEST) $(KEY)

verify: ## hold a model folder against its signed manifest: make verify FOLDER=models/onnx SIGNERS=path
	serving/manifest.sh verify $(FOLDER) $(MANIFEST) $(SIGNERS)

bench: install ## time the path from scan to mask; build/bench. On an idle machine, with bench-peers against MONAI and nnU-Net
	python benchmarks/segmentation.py $(SCAN) --truth $(TRUTH) --model $(MODEL) --checkpoint $(CHECKPOINT) \
		--double $(if $(wildcard $(PEER)),--peer $(PEER))
	python benchmarks/presets.py $(SCAN) $(TRUTH) --model $(MODEL)
	python benchmarks/runtimes.py $(MODEL) $(CACHE) --out build/bench/runtimes.json
	python benchmarks/tiling.py
	python benchmarks/length.py --finest
	python benchmarks/client.py $(SCAN)

soak: install ## minutes of load and faults on a server of its own, every mask checked; build/bench/soak.md
	python benchmarks/soak.py $(SCAN)

bench-peers: ## what benchmarks/ compares with, in an environment of its own: build/peers
	$(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt

clean: ## remove what the pipeline wrote; the environment stays
	rm -rf data/cases data/cache data/manifest.json data/splits.json models reports/train reports/export demo
