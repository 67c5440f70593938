#!/usr/bin/env bash
# Sets up what `make` needs on a machine without ROS: .venv with the pinned requirements that the node
# needs and the sets that are named (fit, train, test), and, built by colcon, the package in ./install. Skips
# what is up to date.
# The interpreter is python3, or the one named by PYTHON.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

for tool in "$python" make gcc g++ sha256sum; do
  command -v "$tool" > /dev/null || fail "$tool is not installed (Debian: sudo apt install build-essential python3-venv python3-dev)."
done
version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
case $version in
  3.10.* | 3.11.* | 3.12.* | 3.13.*) ;;
  *) fail "$python is Python $version, the ROS wheels exist for 3.10 to 3.13: name one with PYTHON=python3.11." ;;
esac

# An environment of a sourced ROS would shadow the wheels.
unset PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH

# A virtual environment can't be moved, so its place is part of the key.
requirements_key=$({ echo "$version $PWD"; cat requirements/*.txt scripts/patch_wheels.py; } | sha256sum)
if [ "$(cat .venv/requirements.key 2> /dev/null)" != "$requirements_key" ]; then
  say "Making a virtual environment in .venv (Python $version)"
  "$python" -m venv --clear .venv || fail "no virtual environment could be made (Debian: sudo apt install python3-venv)."
  echo "$requirements_key" > .venv/requirements.key
fi
missing=()
for set in ros run "$@"; do
  [ -f "requirements/$set.txt" ] || fail "there is no requirements/$set.txt; the sets are run, fit, train and test."
  [ -f ".venv/requirements.$set" ] || missing+=("$set")
done
if [ ${#missing[@]} = 0 ]; then
  say "Requirements are up to date (.venv)"
else
  say "Installing the pinned requirements into .venv: ${missing[*]}"
  files=()
  for set in "${missing[@]}"; do files+=(-r "requirements/$set.txt"); done
  # Python compiles what is imported; to compile all of it takes a minute.
  .venv/bin/python -m pip install --no-compile "${files[@]}" -c requirements/lock.txt
  .venv/bin/python scripts/patch_wheels.py
  .venv/bin/python -c 'import cv2' || fail "OpenCV can't be loaded (Debian: sudo apt install libgl1 libglib2.0-0)."
  for set in "${missing[@]}"; do touch ".venv/requirements.$set"; done
fi

# Modules are linked, not copied, so only their names matter here, not their contents.
interfaces_key=$({
  echo "$requirements_key"
  cat CMakeLists.txt package.xml scripts/executable.py.in action/* msg/* srv/*
  find dart_ros launch config action msg srv -name __pycache__ -prune -o -type f -print | LC_ALL=C sort
} | sha256sum)
if [ "$(cat install/interfaces.key 2> /dev/null)" = "$interfaces_key" ]; then
  say "The colcon build is up to date (install)"
else
  say "Building the package with colcon into ./install, for some minutes (log/latest tells how far it is)"
  [ "$(cat build/requirements.key 2> /dev/null)" = "$requirements_key" ] || rm -rf build install
  # shellcheck disable=SC1091
  . .venv/bin/activate
  # CMake refuses to export include folders that lie in the source folder, as NumPy's in .venv would
  # be, so it sees the sources under another name.
  mkdir -p .venv/source
  ln -sfn ../.. .venv/source/dart_ros
  AMENT_PREFIX_PATH=$VIRTUAL_ENV colcon build --symlink-install --base-paths .venv/source --cmake-args \
    "-DCMAKE_PREFIX_PATH=$VIRTUAL_ENV" "-DPython3_EXECUTABLE=$VIRTUAL_ENV/bin/python" \
    -DBUILD_TESTING=OFF
  echo "$requirements_key" > build/requirements.key
  echo "$interfaces_key" > install/interfaces.key
fi
