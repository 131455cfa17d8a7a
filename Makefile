# safevla_ros without a ROS installation: everything goes into a virtual environment beside this
# file, ROS 2 included (as Python wheels). With ROS 2 installed, use colcon instead; see README.md.
#
#   make sim                 the simulated robot behind the monitor
#   make test DISTRO=jazzy   the tests on ROS 2 Jazzy, in an environment of its own

DISTRO ?= kilted
VENV ?= $(if $(filter kilted,$(DISTRO)),.venv,.venv-$(DISTRO))
PYTHON ?= python3
ARGS ?=

# An installation of ROS 2 sourced in this shell must not be mixed with the one in VENV.
ifneq ($(AMENT_PREFIX_PATH)$(_ROS_WHEELS_BOOTSTRAP_COMPLETE),)
unexport LD_LIBRARY_PATH PYTHONPATH
endif
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH PYTHONHOME
unexport ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION _ROS_WHEELS_BOOTSTRAP_COMPLETE

# The parts that import no ROS: these are checked for types.
TYPED = $(wildcard $(addprefix safevla_ros/,robot safety policy simulation bags training assurance))

.PHONY: build sim doctor test test-unit test-graph test-system test-learning train-deps policies lint lock clean help
.DEFAULT_GOAL := build

build:  ## install or update everything in VENV
	@scripts/build.sh "$(VENV)" "$(DISTRO)" "$(PYTHON)"

sim: build  ## the simulated robot behind the monitor: make sim ARGS="--help"
	@"$(VENV)/bin/safevla" sim $(ARGS)

doctor: build  ## what works on this machine, and what to do about the rest
	@"$(VENV)/bin/safevla" doctor $(ARGS)

test: build  ## all tests but those that need torch or Ray: make test ARGS="-k gate"
	@scripts/test.sh "$(VENV)" unit graph,faults system -- $(ARGS)

test-unit: build  ## without ROS: minutes
	@scripts/test.sh "$(VENV)" unit -- $(ARGS)

test-graph: build  ## nodes, and what happens when one of them fails
	@scripts/test.sh "$(VENV)" graph,faults -- $(ARGS)

test-system: build  ## the whole graph in simulation
	@scripts/test.sh "$(VENV)" system -- $(ARGS)

test-learning: train-deps  ## what needs torch or Ray
	@scripts/test.sh "$(VENV)" learning -- $(ARGS)

train-deps: build  ## add torch and Ray to VENV, for training: see requirements/train.txt
	@scripts/train_deps.sh "$(VENV)" "$(DISTRO)" $(TORCH_INDEX)

policies: train-deps  ## retrace the policies that ship, from nothing; hours, goes on where it was stopped
	@scripts/policies.sh "$(VENV)" $(RUNS)

lint: build  ## ruff and mypy
	@bin="$(VENV)/bin"; status=0; \
	"$$bin/ruff" check --quiet . || status=1; \
	unformatted=$$("$$bin/ruff" format --check --output-format concise . 2>&1) || { echo "$$unformatted"; status=1; }; \
	$(if $(TYPED),"$$bin/mypy" --no-error-summary $(TYPED) || status=1;) \
	exit $$status

lock:  ## pin all versions anew in requirements/ (UPGRADE=1: the newest ones)
	@PYTHON="$(PYTHON)" UPGRADE="$(UPGRADE)" scripts/lock.sh kilted jazzy

clean:  ## remove all that make has made, VENV included
	@rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@if [ -d "$(VENV)/.safevla" ]; then rm -rf "$(VENV)"; fi
	@find . -path './.venv*' -prune -o -name __pycache__ -type d -print | xargs rm -rf

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1#\2/p' $(firstword $(MAKEFILE_LIST)) | \
		awk -F'#' '{ printf "%-22s %s\n", $$1, $$2 }'
	@echo "  DISTRO=kilted|jazzy, VENV=folder and PYTHON=interpreter go with each of them."
