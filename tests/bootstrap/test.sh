#!/usr/bin/env bash
# Runs ./bootstrap on machines played by stand-in commands: what is on PATH is a folder of ours,
# and apt-get, sudo, g++, cmake and ctest only write down how they were called.
set -euo pipefail

source_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bash=$(command -v bash)
failures=0
cases=0

stand_in() {  # name, body
  printf '#!%s\n%s\n' "$bash" "$2" >"$work/bin/$1"
  chmod +x "$work/bin/$1"
}

# A root's machine with every tool and header, apt-get, and a tree that is built by "cmake".
# $work/absent lists headers that g++ does not find; apt-get install adds what it is given.
fresh_machine() {
  rm -rf "$work"
  mkdir -p "$work"/{bin,tree/build/release/sweeps,tree/results/demo}
  cp "$source_root/bootstrap" "$work/tree/"
  for tool in awk cat dirname env grep head mktemp nproc rm sed sort tail uname; do
    ln -s "$(command -v "$tool")" "$work/bin/$tool"
  done
  touch "$work/absent" "$work/log"
  for tool in ninja git gnuplot strace clang-format; do stand_in $tool 'exit 0'; done
  stand_in sleep 'exit 0'
  stand_in id 'echo 0'
  stand_in g++ "input=\$(cat); while read -r header; do
    [[ \$input != *\"<\$header>\"* ]] || exit 1; done <$work/absent"
  stand_in cmake "[[ \$1 != --version ]] || { echo cmake version 3.25.1; exit; }
    echo \"cmake \$*\" >>$work/log"
  stand_in ctest "echo \"ctest \$*\" >>$work/log"
  stand_in apt-get "echo \"apt-get \$*\" >>$work/log"
  stand_in apt-cache 'exit 0'
  printf '#!%s\necho "sweep $*" >>%s/log\n' "$bash" "$work" \
    >"$work/tree/build/release/sweeps/recallbench"
  chmod +x "$work/tree/build/release/sweeps/recallbench"
}

start() {  # arguments of bootstrap
  status=0
  said=$(cd / && env -i PATH="$work/bin" "${machine[@]}" "$bash" "$work/tree/bootstrap" "$@" \
    </dev/null 2>&1) || status=$?
  log=$(cat "$work/log")
}
machine=()

fail() {
  failures=$((failures + 1))
  printf 'FAILED %s (exit %s)\n--- it said:\n%s\n--- it ran:\n%s\n' "$1" "$status" "$said" "$log"
}
exits() {  # status, name
  cases=$((cases + 1))
  [[ $status == "$1" ]] || fail "$2: expected exit $1"
}
says() {
  cases=$((cases + 1))
  [[ $said == *"$1"* ]] || fail "expected it to say '$1'"
}
ran() {
  cases=$((cases + 1))
  [[ $log == *"$1"* ]] || fail "expected it to run '$1'"
}
ran_no() {
  cases=$((cases + 1))
  [[ $log != *"$1"* ]] || fail "expected it not to run '$1'"
}

command_line() {
  fresh_machine
  start --help && exits 0 'help' && says 'Usage: ./bootstrap demo'
  start demo --help && exits 0 'help of a command' && says 'Usage:'
  start && exits 2 'no command' && says 'Usage:'
  start tset && exits 2 'a misspelt command' && says "unknown command 'tset'"
  start build now && exits 2 'a build that is not there' && says "unknown build 'now'; known: cuda"
  start build cuda now && exits 2 'an argument too many' && says "unknown command 'build cuda"
  start test msan && exits 2 'an unknown sanitizer' && says 'known: asan, tsan, cuda'
  ran_no cmake
}

nothing_missing() {
  fresh_machine
  start build && exits 0 'a build' && ran_no apt-get
  ran 'cmake --preset release' && ran 'cmake --build --preset release'
  says 'build/release/sweeps/recallbench'
  start test && exits 0 'tests' && says 'tests passed (preset test' && ran_no apt-get
  ran 'ctest --preset test' && ran '--output-on-failure --no-tests=error'
  start test asan && exits 0 'asan' && ran 'ctest --preset asan'
  stand_in cmake "[[ \$1 == --version ]] && echo cmake version 3.25.1"
  start build && exits 1 'a failing configuration' && says 'the configuration failed'
  fresh_machine
  stand_in ctest 'exit 8'
  start test && exits 1 'failing tests' && says 'tests FAILED (preset test'
}

installs() {
  fresh_machine
  printf 'toml++/toml.h\ngtest/gtest.h\n' >"$work/absent"
  rm "$work/bin/ninja"
  start build && exits 0 'missing packages, as root'
  ran 'apt-get' && ran 'install -y --no-install-recommends ninja-build libtomlplusplus-dev'
  ran_no libgtest-dev && ran_no libfmt-dev
  start test && exits 0 'packages of the tests' && ran 'libtomlplusplus-dev libgtest-dev'

  stand_in id 'echo 1000'
  start build && exits 1 'no root, no sudo' && says 'there is no sudo; run as root: apt-get install'
  stand_in sudo "echo \"sudo \$*\" >>$work/log; [[ \$1 != -n ]] || shift; exec \"\$@\""
  start build && exits 0 'sudo' && ran 'sudo -n env DEBIAN_FRONTEND=noninteractive apt-get'
}

with_cuda() {
  fresh_machine
  machine=(CUDACXX=/opt/nvcc)
  start build cuda && exits 0 'a build with CUDA' && ran 'cmake --build --preset cuda'
  says 'build/cuda/sweeps/recallbench'
  start test cuda && exits 0 'tests with CUDA' && ran 'cmake --build --preset cuda-test'
  ran 'ctest --preset cuda-test'
  machine=()
  stand_in nvcc ''
  start build cuda && exits 0 'nvcc on PATH' && ran 'cmake --preset cuda'
}

install_fails() {
  fresh_machine
  echo 'fmt/format.h' >"$work/absent"
  stand_in apt-get "echo \"apt-get \$*\" >>$work/log; 
    [[ \$* != *install* || -e $work/again ]] || { >$work/again; exit 100; }"
  start build && exits 0 'apt-get that fails once' && says 'once more'
  stand_in apt-get 'echo E: no network; exit 100'
  start build && exits 1 'apt-get that fails' && says 'E: no network' && says 'by hand: apt-get'
  fresh_machine
  echo 'toml++/toml.h' >"$work/absent"
  stand_in apt-cache '[[ $2 != libtomlplusplus-dev ]]'
  start build && exits 1 'an old system' && says 'has no package: libtomlplusplus-dev'
  ran_no cmake
  rm "$work/bin/apt-get"
  start build && exits 1 'no package manager' && says 'no apt-get to install them: libtomlplusplus-dev'
  ran_no cmake
  machine=(BOOTSTRAP_INSTALL=no)
  start build && exits 0 'told not to install' && says 'not installed because BOOTSTRAP_INSTALL=no'
  machine=()
}

old_tools() {
  fresh_machine
  echo 'source_location' >"$work/absent"
  start build && exits 1 'an old compiler' && says 'g++ 11 or newer is needed'
  fresh_machine
  stand_in cmake 'echo cmake version 3.18.4'
  start build && exits 1 'an old CMake' && says 'CMake 3.21 or newer is needed, this is 3.18.4'
}

demo() {
  fresh_machine
  touch "$work/tree/results/demo/summary.csv" "$work/tree/results/demo/demo.svg"
  start demo --set train.max_epochs=1 && exits 0 'a demo' && ran_no ctest
  ran 'sweep sweep demo --out results/demo --set train.max_epochs=1'
  says '  results/demo/demo.svg' && says '  results/demo/summary.csv'
  start demo --out=elsewhere && exits 0 'a demo elsewhere' && ran 'sweep sweep demo --out=elsewhere'
  machine=(BOOTSTRAP_JOBS=3)
  start demo && ran 'cmake --build --preset release -j 3'
  machine=()
  printf '#!%s\nexit 75\n' "$bash" >"$work/tree/build/release/sweeps/recallbench"
  start demo && exits 75 'a demo that is interrupted'
}

# Every package that CMake's messages name is one that bootstrap installs.
package_names() {
  local package
  fresh_machine
  while read -r package; do
    status=0 said=$package log=''
    cases=$((cases + 1))
    grep -q "^$package " "$source_root/bootstrap" || fail "bootstrap does not install $package"
  done < <(cat "$source_root"/{,*/,kernels/bench/}CMakeLists.txt |
    grep -oE '(lib[a-z0-9+-]+|nlohmann-json3)-dev' | grep -vx libc6-dev | sort -u)
}

command_line
nothing_missing
installs
with_cuda
install_fails
old_tools
demo
package_names
echo "[bootstrap] $cases checks, $failures failed"
[[ $failures == 0 ]]
