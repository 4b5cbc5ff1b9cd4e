#!/usr/bin/env bash
# The folders that mixers/ADDING.md and tasks/README.md show, put into a copy of the tree in which
# nothing else changes: the build registers mixer and task, and compiles them with all warnings; a folder
# with half of its files is refused:
#   in_tree.sh CMAKE SOURCE_FOLDER COMPILER
set -euo pipefail

cmake=$1
source=$2
compiler=$3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  printf 'FAILED %s\n' "$*"
  exit 1
}

shown() {  # language, page: its first block
  awk -v fence="\`\`\`$1" '$0 == fence { on = 1; next } /^```/ { if (on) exit } on' "$source/$2"
}

mkdir -p "$scratch/tree/results"
cp -r "$source"/{CMakeLists.txt,kernels,mixers,tasks,analysis,sweeps} "$scratch/tree"
cp -r "$source/results/published" "$scratch/tree/results"
mkdir "$scratch/tree/mixers/gated_shift" "$scratch/tree/tasks/echo"
shown cpp mixers/ADDING.md >"$scratch/tree/mixers/gated_shift/gated_shift.cpp"
shown markdown mixers/ADDING.md >"$scratch/tree/mixers/gated_shift/README.md"
grep -q '^# gated_shift' "$scratch/tree/mixers/gated_shift/README.md" || fail 'the page shows no README'
shown cpp tasks/README.md >"$scratch/tree/tasks/echo/echo.cpp"
printf '# echo\n' >"$scratch/tree/tasks/echo/README.md"

build=$scratch/build
configure() {
  "$cmake" -S "$scratch/tree" -B "$build" -G Ninja -DCMAKE_CXX_COMPILER="$compiler" \
    -DRECALLBENCH_TESTS=OFF >"$scratch/log" 2>&1
}
half() {  # file, what is said while it lies elsewhere: CMake breaks the lines
  mv "$scratch/tree/$1" "$scratch/aside"
  ! configure || fail "configured without $1"
  tr -s '\n ' '  ' <"$scratch/log" | grep -q "$2" || fail "$(cat "$scratch/log")"
  mv "$scratch/aside" "$scratch/tree/$1"
}
half tasks/echo/README.md 'tasks/echo has echo.cpp and no README.md; add one'
half mixers/gated_shift/gated_shift.cpp 'mixers/gated_shift has a README.md and no gated_shift.cpp'
configure || fail "$(cat "$scratch/log")"
grep -q 'register_gated_shift(registry);' "$build/mixers/register_all.cpp" || fail 'the mixer is not registered'
grep -q 'register_echo(registry);' "$build/tasks/register_all.cpp" || fail 'the task is not registered'
"$cmake" --build "$build" -j 1 \
  --target mixers/CMakeFiles/recallbench_mixers.dir/gated_shift/gated_shift.cpp.o \
  tasks/CMakeFiles/recallbench_tasks.dir/echo/echo.cpp.o
