#!/usr/bin/env bash
# Installs a build, moves the installation, builds leaky_average/ against it with nothing else, and
# lists, checks, sweeps and plots its mixer:  out_of_tree.sh CMAKE BUILD_FOLDER COMPILER LIB_FOLDER
set -euo pipefail

cmake=$1
build=$2
compiler=$3
libraries=$4
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  printf 'FAILED %s\n' "$*"
  exit 1
}

"$cmake" --install "$build" --prefix "$scratch/first" >"$scratch/install.log"
mv "$scratch/first" "$scratch/moved"
if grep -rlF "$build" "$scratch/moved/$libraries/cmake"; then fail 'the package names the build folder'; fi
if grep -rlF "$scratch/first" "$scratch/moved/$libraries/cmake"; then fail 'the package names its first place'; fi

cp -r "$here/leaky_average" "$scratch/leaky_average"
"$cmake" -S "$scratch/leaky_average" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$scratch/moved" \
  -DCMAKE_CXX_COMPILER="$compiler"
"$cmake" --build "$scratch/build"
plugin=$scratch/build/leaky_average.so

cd "$scratch"
recallbench() { "$scratch/moved/bin/recallbench" --plugin "$plugin" "$@"; }
recallbench list mixers >listed
grep -q "^leaky_average .*$plugin" listed || fail 'it is not listed with its file'
recallbench check leaky_average
recallbench sweep leaky_average/recipe.toml --out swept --jobs 2 --quiet
grep -q 'leaky average' swept/frontier.csv || fail 'frontier.csv does not name it'
grep -q 'leaky average' swept/summary.csv || fail 'summary.csv does not name it'
grep -q 'identity' swept/summary.csv || fail 'summary.csv does not name identity'
figure=$(find swept -name '*.svg' -print -quit)
[[ -n $figure ]] || fail 'there is no figure'
grep -q 'leaky average' "$figure" || fail 'the figure does not name it'
