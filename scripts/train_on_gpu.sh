#!/usr/bin/env bash
# Trains a recipe on another machine, such as one with a GPU that is rented for half an hour, and brings
# its weights and logs back into runs/:
#   scripts/train_on_gpu.sh HOST RECIPE.yaml [DATA_FOLDER ...]
# HOST is ssh's name of the machine, which has python3 with torch and pip; "here" trains on this one, to try
# a recipe out. Folders of data that the recipe names lie in the repository, and travel with it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

[ $# -ge 2 ] || fail "usage: scripts/train_on_gpu.sh HOST RECIPE.yaml [DATA_FOLDER ...]"
host=$1 recipe=$2
shift 2
[ -f "$recipe" ] || fail "there is no recipe $recipe."
for folder in "$@"; do
  [ -d "$folder" ] || fail "there is no folder $folder."
  case $folder in /* | *..*) fail "$folder lies outside of the repository: copy it to data/." ;; esac
done

package=$(mktemp --suffix .tar.gz)
trap 'rm -f "$package"' EXIT
tar -czf "$package" --exclude __pycache__ --exclude dart_ros/data/demo dart_ros config requirements "$recipe" "$@"
printf '%s MB to send\n' "$(($(stat -c %s "$package") / 1000000))"

# What runs there, in a folder of its own: $1 is the folder, $2 the recipe.
work='set -e; cd "$1"; tar -xzf package.tar.gz
python3 -m pip install -q --target packages numpy opencv-python-headless pyyaml safetensors tqdm tensorboard kornia \
  --no-deps --disable-pip-version-check 2> pip.log || { cat pip.log >&2; exit 1; }
export PYTHONPATH=$PWD:${PYTHONPATH:-}:$PWD/packages
python3 -m dart_ros.cli train recipe "$2" --output runs'

output=runs/$(basename "$recipe" .yaml)
mkdir -p "$output"
results='cd "$1/runs" && find . \( -name result.safetensors -o -name "*.json" -o -path "*/logs/*" \) -print0 |
  tar -cz --null -T -'
if [ "$host" = here ]; then
  folder=$(mktemp -d)
  cp "$package" "$folder/package.tar.gz"
  bash -c "$work" - "$folder" "$recipe"
  bash -c "$results" - "$folder" | tar -xz -C "$output"
else
  folder=$(ssh "$host" mktemp -d)
  scp -q "$package" "$host:$folder/package.tar.gz"
  # A connection that breaks ends the training; the same folder would resume it.
  ssh "$host" bash -s - "$folder" "$recipe" <<< "$work"
  ssh "$host" bash -s - "$folder" <<< "$results" | tar -xz -C "$output"
fi
find "$output" -name result.safetensors -exec ls -l {} +
