#!/usr/bin/env bash
# Installs a build, moves the installation, builds leaky_average/ against it with nothing else, and
# lists, checks, sweeps and plots its mixer; so too the mixer that mixers/ADDING.md shows:
#   out_of_tree.sh CMAKE BUILD_FOLDER COMPILER LIB_FOLDER
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

build_plugin() {  # source folder, build folder
  "$cmake" -S "$1" -B "$2" -DCMAKE_PREFIX_PATH="$scratch/moved" -DCMAKE_CXX_COMPILER="$compiler"
  "$cmake" --build "$2"
}

cp -r "$here/leaky_average" "$scratch/leaky_average"
build_plugin "$scratch/leaky_average" "$scratch/build"
plugin=$scratch/build/leaky_average.so

cd "$scratch"
recallbench() { "$scratch/moved/bin/recallbench" --plugin "$plugin" "$@"; }
recallbench list mixers >listed
grep -q "^leaky_average .*$plugin" listed || fail 'it is not listed with its file'
recallbench check leaky_average
if grep -q 'RECALLBENCH_CUDA:BOOL=ON' "$build/CMakeCache.txt" && command -v nvidia-smi >/dev/null; then
  recallbench check leaky_average --device cuda
fi
recallbench sweep leaky_average/recipe.toml --out swept --jobs 2 --quiet
grep -q 'leaky average' swept/frontier.csv || fail 'frontier.csv does not name it'
grep -q 'leaky average' swept/summary.csv || fail 'summary.csv does not name it'
grep -q 'identity' swept/summary.csv || fail 'summary.csv does not name identity'
grep -qE ' \+ leaky_average\.so [0-9a-f]{7},' swept/summary.csv || fail 'summary.csv does not name the plugin that it was'
again() { "$scratch/moved/bin/recallbench" --plugin "$1" sweep leaky_average/recipe.toml --out swept --no-plot 2>&1; }
if again "$plugin" | grep 'of another program'; then fail 'its own runs are called those of another program'; fi
cp "$plugin" other.so
again "$scratch/other.so" | grep -q 'runs done before are of another program, .* + leaky_average.so' ||
  fail 'runs of another plugin are taken for its own without a word'
figure=$(find swept -name '*.svg' -print -quit)
[[ -n $figure ]] || fail 'there is no figure'
grep -q 'leaky average' "$figure" || fail 'the figure does not name it'

# What mixers/ADDING.md shows: the first block of C++, the first of CMake, and the line that makes
# a plugin of them.
shown() { awk -v fence="\`\`\`$1" '$0 == fence { on = 1; next } /^```/ { if (on) exit } on' "$here/../../mixers/ADDING.md"; }
mkdir "$scratch/gated_shift"
shown cmake >"$scratch/gated_shift/CMakeLists.txt"
{
  printf '#include "mixers/plugin.h"\n'
  shown cpp
  printf 'RECALLBENCH_PLUGIN(recallbench::register_gated_shift)\n'
} >"$scratch/gated_shift/gated_shift.cpp"
build_plugin "$scratch/gated_shift" "$scratch/build_shown"
plugin=$scratch/build_shown/gated_shift.so
recallbench check gated_shift width=3
