# For machines without ROS; on a robot, `colcon build` in its workspace is all that is needed.
SHELL := /bin/bash
PYTHON ?= python3
export PYTHON

.PHONY: help workspace test lint demo clean

help:
	@echo 'make demo                 matte the recording that ships with the package, in real nodes'
	@echo 'make demo SOURCE=PATH     the same for a folder of frames, a rosbag2 folder or an .mcap file'
	@echo '          OPTIONS="..."   further options of the demo; --help lists them, --no-fit needs no torch'
	@echo 'make test                 lint and all tests, two files at a time; OPTIONS="test/method -x" goes to pytest'
	@echo 'make lint                 ruff and mypy'
	@echo 'make workspace            only set up .venv and build; SETS="fit train test" adds to what the node needs,'
	@echo '                          PYTHON=python3.12 picks the interpreter'
	@echo 'make clean                remove what make has made'

workspace:
	@scripts/workspace.sh $(SETS)

lint test: SETS = fit train test
# The fit alone needs torch.
demo: SETS = $(if $(filter --no-fit --help -h,$(OPTIONS)),,fit)

lint: workspace
	@. scripts/environment.sh && ruff check . && mypy

test: lint
	@. scripts/environment.sh && python -m pytest -n 2 --dist loadfile $(OPTIONS)

demo: workspace
	@. scripts/environment.sh && python -m dart_ros.demo $(if $(SOURCE),--source '$(SOURCE)') $(OPTIONS)

clean:
	rm -rf .venv build install log demo_output
