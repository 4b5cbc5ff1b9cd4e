#!/usr/bin/env bash
# What a plugin's mixer throws ends a command with one line on standard error and exit code 1:
#   faulty.sh RECALLBENCH FOLDER
set -euo pipefail

program=$1
plugin=$2/throws_when_asked.so
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# thrown WORDS OPTION: so asked, the line has the words.
thrown() {
  local code=0
  "$program" --plugin "$plugin" check thrower "$2=true" >"$scratch/out" 2>"$scratch/err" || code=$?
  cat "$scratch/err"
  [[ $code -eq 1 && ! -s $scratch/out && $(wc -l <"$scratch/err") -eq 1 ]]
  grep -qF -- "$1" "$scratch/err"
}

thrown 'unexpected error: thrown by the constructor\x0ain two lines' text
thrown 'unexpected error: thrown was something that is no std::exception' number
