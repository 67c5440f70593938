#!/usr/bin/env bash
# Trains a recipe on another machine, such as one with a GPU that is rented for half an hour, and brings
# its weights and logs back into runs/:
#   scripts/train_on_gpu.sh HOST RECIPE.yaml [DATA_FOLDER ...]
# HOST is ssh's name of the machine, which has python3 with torch and pip; "here" trains on this one, to try
# a recipe out. Folders of data that the recipe names lie in the repository, and travel with it. A training
# that breaks off is resumed by the same command.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

[ $# -ge 2 ] || fail "usage: scripts/train_on_gpu.sh HOST RECIPE.yaml [DATA_FOLDER ...]"
host=$1 recipe=$2
shift 2
[ -f "$recipe" ] || fail "there is no recipe $recipe."
for folder in "$@"; do
  [ -d "$folder" ] || fail "there is no folder $folder."
done
for path in "$recipe" "$@"; do
  case $path in /* | *..*) fail "$path lies outside of the repository: copy it to data/." ;; esac
done

name=$(basename "$recipe" .yaml)
package=$(mktemp --suffix .tar.gz)
trap 'rm -f "$package"' EXIT
tar -czf "$package" --exclude __pycache__ --exclude dart_ros/data/demo dart_ros config "$recipe" "$@"
printf '%s MB to send\n' "$(($(stat -c %s "$package") / 1000000))"

there() {
  if [ "$host" = here ]; then bash -c "$1"; else ssh "$host" "$1"; fi
}

folder=".cache/dart_ros_training/$name"
there "mkdir -p $folder && cd $folder && cat > package.tar.gz && tar -xzf package.tar.gz" < "$package"
packages="numpy opencv-python-headless pyyaml safetensors tqdm tensorboard absl-py protobuf kornia kornia_rs"
failed=0
there "cd $folder && { [ -d packages ] || python3 -m pip install -q --target packages --no-deps $packages; } &&
  PYTHONPATH=\$PWD:\$PYTHONPATH:\$PWD/packages python3 -m dart_ros.cli train recipe $recipe --output runs" \
  < /dev/null || failed=$?

mkdir -p "runs/$name"
there "cd $folder/runs && find . \( -name result.safetensors -o -name '*.json' -o -path '*/logs/*' \) -print0 |
  tar -cz --null -T -" < /dev/null | tar -xz -C "runs/$name"
[ "$failed" = 0 ] || fail "the training broke off; the same command resumes it."
there "rm -rf $folder" < /dev/null
find "runs/$name" -name result.safetensors -exec ls -l {} +
