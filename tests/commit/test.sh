#!/usr/bin/env bash
# A build is named by its commit, and where its code differs by a hash of the difference:
#   test.sh CMAKE COMMIT.CMAKE
set -euo pipefail

cmake=$1
script=$2
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b

name() {  # [SOURCE]
  "$cmake" -DSOURCE="${1:-$tree}" -DOUTPUT="$tree/commit.h" -P "$script"
  sed -n 's/#define RECALLBENCH_COMMIT "\(.*\)"/\1/p' "$tree/commit.h"
}
expect() {  # what it is, pattern, name
  [[ $3 =~ ^$2$ ]] && return
  printf 'FAILED %s: expected %s, got "%s"\n' "$1" "$2" "$3"
  exit 1
}

mkdir -p "$tree"/{kernels,mixers,results}
echo one >"$tree/kernels/a.cpp"
expect 'without git' '' "$(name)"
git -C "$tree" init -q
git -C "$tree" add kernels
git -C "$tree" commit -q -m one
commit=$(git -C "$tree" rev-parse --short=7 HEAD)
expect 'the commit' "$commit" "$(name)"
echo note >"$tree/results/README.md"
expect 'other than code' "$commit" "$(name)"
expect 'a folder of the tree' '' "$(name "$tree/kernels")"

echo two >"$tree/kernels/a.cpp"
first=$(name)
expect 'changed' "$commit-dirty-[0-9a-f]{7}" "$first"
expect 'as before' "$first" "$(name)"
echo three >"$tree/kernels/a.cpp"
second=$(name)
expect 'changed again' "$commit-dirty-[0-9a-f]{7}" "$second"
[[ $first != "$second" ]] || expect 'changed again' 'another name' "$second"

git -C "$tree" checkout -q kernels
echo new >"$tree/mixers/new file.cpp"
first=$(name)
expect 'a new file' "$commit-dirty-[0-9a-f]{7}" "$first"
echo newer >"$tree/mixers/new file.cpp"
second=$(name)
[[ $first != "$second" ]] || expect 'a new file that changed' 'another name' "$second"
rm "$tree/mixers/new file.cpp"
expect 'the commit again' "$commit" "$(name)"
