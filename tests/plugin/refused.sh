#!/usr/bin/env bash
# Every broken plugin is refused with one line on standard error, exit code 4 and an empty standard
# output; the good one beside them is not:  refused.sh RECALLBENCH FOLDER
set -euo pipefail

program=$1
folder=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

complain() {
  printf 'FAILED %s\n' "$*"
  failures=$((failures + 1))
}

# refused WORDS FILE [FILE...]: loading the files in this order fails, and the line has the words.
refused() {
  local words=$1 code=0 arguments=()
  shift
  for file in "$@"; do arguments+=(--plugin "$file"); done
  "$program" "${arguments[@]}" list mixers >"$scratch/out" 2>"$scratch/err" || code=$?
  printf '%s\n' "$(cat "$scratch/err")"
  [[ $code -eq 4 ]] || complain "$*: exit code $code, expected 4"
  [[ ! -s $scratch/out ]] || complain "$*: something on standard output"
  [[ $(wc -l <"$scratch/err") -eq 1 ]] || complain "$*: not one line on standard error"
  grep -qF -- "$words" "$scratch/err" || complain "$*: the line does not say '$words'"
  grep -qF -- "${*: -1}" "$scratch/err" || complain "$*: the line does not name the file"
}

good=$folder/leaky_average.so
"$program" --plugin "$good" list mixers | grep -q '^leaky_average ' || complain 'the good plugin is refused'
"$program" list --plugin "$good" mixers | grep -q '^leaky_average ' || complain 'what follows --plugin FILE.so is lost'

refused 'exports no symbol recallbench_plugin' "$folder/no_entry.so"
refused 'this_symbol_is_nowhere' "$folder/undefined_symbol.so"
refused 'another layout' "$folder/null_entry.so"
refused 'another layout' "$folder/small_entry.so"
refused 'built as "compiler 1.0", this program as "compiler ' "$folder/other_fingerprint.so"
refused 'while it is loaded' "$folder/crashes_in_constructor.so"
refused 'while it is loaded' "$folder/throws_in_constructor.so"
refused 'ends the program while it is loaded' "$folder/ends_the_program.so"
refused 'it throws: thrown by register' "$folder/throws_in_register.so"
refused 'throws something that is no std::exception' "$folder/throws_a_number.so"
refused 'it throws: thrown by the factory' "$folder/throws_in_factory.so"
refused 'its factory returned no mixer' "$folder/makes_no_mixer.so"
refused "parameter 'bias' is declared twice" "$folder/declares_twice.so"
refused "parameter 'scale' is declared without a dimension" "$folder/declares_no_dimension.so"
refused 'registers no mixer' "$folder/registers_nothing.so"
refused "by the name 'two\x0alines'" "$folder/name_of_two_lines.so"
refused "by the name ''" "$folder/no_name.so"
refused "'identity' is registered twice" "$folder/taken_name.so"
refused 'does not finish loading within 10 s' "$folder/hangs.so"

cp "$good" "$scratch/again.so"
refused "'leaky_average' is registered twice" "$good" "$scratch/again.so"
refused 'there is no such file' "$scratch/missing.so"
mkdir "$scratch/folder.so"
refused 'there is no such file' "$scratch/folder.so"
: >"$scratch/empty.so"
refused 'it cannot be loaded' "$scratch/empty.so"
printf 'this is no library\n%.0s' {1..200} >"$scratch/junk.so"
refused 'it cannot be loaded' "$scratch/junk.so"
# Cut where something is lost that is loaded: without debug data and symbols, which are not.
strip -o "$scratch/stripped.so" "$good"
size=$(stat -c %s "$scratch/stripped.so")
for share in 1 10 50; do  # percent
  head -c $((size * share / 100)) "$scratch/stripped.so" >"$scratch/truncated_$share.so"
  refused ' loaded' "$scratch/truncated_$share.so"
done

if ((failures > 0)); then
  printf '%d failed\n' "$failures"
  exit 1
fi
