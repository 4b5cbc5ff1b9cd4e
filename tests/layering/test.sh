#!/usr/bin/env bash
# Proves that check.sh can fail: a clean tree passes, and each single violation put into it is
# reported at its file and line.
set -euo pipefail

check=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/check.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0
cases=0

clean_tree() {
  rm -rf "$tree"
  mkdir -p "$tree"/kernels/{base/io,bench,matmul} "$tree"/{mixers/based,tasks/mqar,analysis,sweeps/cli} \
    "$tree"/tests/kernels "$tree"/build/test
  echo '#include <string>' >"$tree/kernels/base/error.h"
  echo '#include "kernels/base/error.h"' >"$tree/kernels/base/io/npy.h"
  printf '#pragma once\n#include "kernels/base/error.h"\n' >"$tree/kernels/matmul/matmul.h"
  printf '#include <Eigen/Core>\n#include "kernels/matmul/matmul.h"\n' \
    >"$tree/kernels/matmul/matmul_cpu.cpp"
  printf '#include "kernels/matmul/matmul.h"\n#include "kernels/base/error.h"\n' \
    >"$tree/mixers/based/based.cpp"
  echo '#include "tests/support/run_case.h"' >"$tree/kernels/bench/bench.cpp"
  echo '#include "mixers/based/based.h"' >"$tree/mixers/based/decoder.cpp"
  echo '#include "kernels/base/error.h"' >"$tree/tasks/mqar/mqar.cpp"
  echo '#include "kernels/base/io/npy.h"' >"$tree/analysis/frontier.cpp"
  printf '#include "%s"\n' analysis/a.h tasks/a.h mixers/a.h kernels/a/a.h kernels/base/a.h \
    >"$tree/sweeps/cli/main.cpp"
  printf '#include "%s"\n' sweeps/a.h kernels/base/a.h tests/a.h own.h >"$tree/tests/kernels/a.cpp"
  yes '// a line' | head -n 400 >"$tree/kernels/long.h" || true
  printf '__global__ void copy(const float* from,\n    float* to) {\n  after_previous();\n}\n' \
    >"$tree/kernels/matmul/copy.cu"
  echo 'mktemp /tmp/dir.XXXXXX; see https://example.org/home/page and docs/root/x' >"$tree/notes.md"
  echo '#include "sweeps/a.h"' >"$tree/build/test/generated.cpp"
}

# expect STATUS NAME TEXT...: check.sh ends with STATUS and says every TEXT.
expect() {
  local expected=$1 name=$2 status=0 said text
  shift 2
  cases=$((cases + 1))
  said=$("$check" "$tree" 2>&1) || status=$?
  for text in "exit $expected" "$@"; do
    [[ "exit $status $said" == *"$text"* ]] && continue
    failures=$((failures + 1))
    printf 'FAILED %s: expected "%s"; exit %s, it said:\n%s\n' "$name" "$text" "$status" "$said"
  done
}

# caught FILE LINE_OF_TEXT MESSAGE: appended to a clean tree, the line is found, and it alone.
caught() {
  clean_tree
  printf '%s\n' "$2" >>"$tree/$1"
  expect 1 "'$2' in $1" "$1:$(wc -l <"$tree/$1"): $3" '[layering] 1 violations'
}

clean_tree
expect 0 'a clean tree' 'keep the layers'

mkdir "$tree/extras"
echo >"$tree/extras/a.cpp"
expect 1 'a source elsewhere' 'extras/a.cpp:1: a source outside the layers'

for layer in kernels mixers tasks analysis sweeps tests; do
  caught kernels/base/error.h "#include \"$layer/a.h\"" "kernels/base may not include $layer"
done
for layer in mixers tasks analysis sweeps tests; do
  caught kernels/matmul/matmul.h "#include \"$layer/a.h\"" "kernels may not include $layer"
done
for layer in tasks analysis sweeps tests; do
  caught mixers/based/based.cpp "#include \"$layer/a.h\"" "mixers may not include $layer"
done
for layer in kernels mixers analysis sweeps tests; do
  caught tasks/mqar/mqar.cpp "#include \"$layer/a.h\"" "tasks may not include $layer"
done
for layer in kernels mixers tasks sweeps tests; do
  caught analysis/frontier.cpp "#include \"$layer/a.h\"" "analysis may not include $layer"
done
caught kernels/bench/bench.cpp '#include "sweeps/a.h"' 'kernels/bench may not include sweeps'
caught kernels/matmul/matmul.h '#include "kernels/bench/a.h"' 'kernels may not include kernels/bench'
caught sweeps/cli/main.cpp '#include "tests/a.h"' 'sweeps may not include tests'
caught tasks/mqar/mqar.cpp ' #  include"mixers/a.h" // why' 'tasks may not include mixers'
caught tasks/mqar/mqar.cpp '#include <kernels/base/error.h>' '<kernels/base/error.h> is a file'
caught tasks/mqar/mqar.cpp '#include "mqar.h"' '"mqar.h" does not start at the project root'
caught tasks/mqar/mqar.cpp '#include "../a.h"' '"../a.h" is a relative path'
caught tasks/mqar/mqar.cpp '#include HEADER' 'an include that a macro names'
caught kernels/base/error.h '#include <Eigen/Core>' 'kernels/base knows neither Eigen nor CUDA'
caught kernels/base/error.h '#include <cuda_runtime.h>' 'kernels/base knows neither Eigen'
caught kernels/base/error.h '#include <cublasLt.h>' 'kernels/base knows neither Eigen'
caught kernels/matmul/matmul_cuda.cu '#include "mixers/a.h"' 'kernels may not include mixers'
caught kernels/matmul/tile.cuh '#include "mixers/a.h"' 'kernels may not include mixers'
caught kernels/long.h '// line 401' 'the file has more than 400 lines'
caught kernels/matmul/copy.cu 'copy<<<1, 32>>>(from, to);' 'a launch of its own'
caught kernels/matmul/tile.cuh $'__global__ void\n    f(float* x) {\n  *x = 0;' 'a kernel begins with after'
for word in TO''DO FIX''ME XX''X; do
  caught mixers/based/based.cpp "// $word: later" 'a note of unfinished work'
done
caught notes.md "see /ho""me/someone/data" 'a home folder'
caught notes.md "see /Us""ers/someone/data" 'a home folder'
caught notes.md "cat /ro""ot/data" 'a home folder'
caught notes.md "https://py""pi.org/simple" 'the host of a package registry'
caught notes.md "FROM gh""cr.io/some/image" 'the host of a package registry'
caught notes.md "cd $tree" 'the path of this very checkout'

# Inside git: untracked files count, ignored ones do not.
clean_tree
git -C "$tree" init -q
echo '/build/' >"$tree/.gitignore"
expect 0 'a clean tree under git' 'keep the layers'
echo '#include "mixers/a.h"' >"$tree/tasks/mqar/mqar.cpp"
expect 1 'a violation under git' 'tasks/mqar/mqar.cpp:1: tasks may not include mixers'

rm -rf "$tree"
mkdir -p "$tree"
expect 2 'an empty tree' 'no sources'

echo "[layering] $cases cases, $failures failed"
[[ $failures == 0 ]]
