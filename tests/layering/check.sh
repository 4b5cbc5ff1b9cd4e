#!/usr/bin/env bash
# Checks a source tree against the project's rules; a line for each violation, exit 1 if any:
#   tests/layering/check.sh [ROOT]
# Layers: an #include "..." may point only where `may_include` below says, from the project root.
# CUDA:   kernels are enqueued by cuda_launch and begin with after_previous() (kernels/cuda/launch.cuh).
# House:  sources to 400 lines; no notes of unfinished work; nothing that ties the tree to one
#         machine (home folders, the path of this checkout) or to a package registry.
set -euo pipefail
export LC_ALL=C

root=$(cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}" && pwd)
cd "$root"

# What git tracks or would track; without git, every file outside the ignored folders.
list_files() {
  if [[ -e .git ]] && git ls-files >/dev/null 2>&1; then
    git ls-files --cached --others --exclude-standard | while IFS= read -r file; do
      [[ ! -f $file ]] || printf '%s\n' "$file"
    done
  else
    find . -path './build*' -prune -o -path ./.git -prune -o -path ./.cache -prune -o \
      -path './results/*/*' -prune -o -type f -print | sed 's|^\./||'
  fi | sort
}

check_includes() {  # source files
  awk '
    BEGIN {
      may_include["kernels/base"] = " kernels/base "
      may_include["kernels"] = " kernels/base kernels "
      # The benchmarks are a program: they run the cases as the tests do, and nothing includes them.
      may_include["kernels/bench"] = " kernels/base kernels kernels/bench tests "
      may_include["mixers"] = " kernels/base kernels mixers "
      may_include["tasks"] = " kernels/base tasks "
      may_include["analysis"] = " kernels/base analysis "
      may_include["sweeps"] = " kernels/base kernels mixers tasks analysis sweeps "
      may_include["tests"] = " kernels/base kernels mixers tasks analysis sweeps tests "
    }
    function layer_of(path) {
      if (match(path, /^kernels\/(base|bench)\//)) return substr(path, 1, RLENGTH - 1)
      sub(/\/.*/, "", path)
      return path
    }
    function violation(text) { printf "%s:%d: %s\n", FILENAME, FNR, text }
    FNR == 1 { from = layer_of(FILENAME) }
    FNR == 1 && !(from in may_include) {
      violation("a source outside the layers kernels, mixers, tasks, analysis, sweeps and tests")
    }
    FNR == 401 { violation("the file has more than 400 lines; split it by purpose") }
    !/^[ \t]*#[ \t]*include/ { next }
    {
      target = $0
      sub(/^[ \t]*#[ \t]*include[ \t]*/, "", target)
      quoted = target ~ /^"/
      if (!quoted && target !~ /^</) {
        violation("an include that a macro names; write the name itself")
        next
      }
      target = substr(target, 2)
      sub(/[">].*/, "", target)
      to = layer_of(target)
      if (target ~ /(^|\/)\.\.?\//) {
        violation("\"" target "\" is a relative path; include from the project root")
      } else if (to in may_include) {
        if (!quoted) violation("<" target "> is a file of this project; include it with \"\"")
        if (from in may_include && index(may_include[from], " " to " ") == 0)
          violation(from " may not include " to " (\"" target "\"); allowed:" may_include[from])
      } else if (quoted && from != "tests") {
        violation("\"" target "\" does not start at the project root; a header of a library is <" \
                  target ">")
      }
      if (from == "kernels/base" && target ~ /^(Eigen|unsupported\/Eigen|cuda|cub|cu[a-zA-Z]*\.h)/)
        violation("kernels/base knows neither Eigen nor CUDA (<" target ">)")
    }' "$@"
}

check_kernels() {  # source files
  awk '
    function violation(text) { printf "%s:%d: %s\n", FILENAME, FNR, text }
    FNR == 1 { in_head = at_body = 0 }
    /^[ \t]*\/\// { next }
    /<<</ && FILENAME ~ /\.cuh?$/ { violation("a launch of its own; use cuda_launch") }
    at_body {
      if ($0 !~ /^[ \t]*after_previous\(\);/) violation("a kernel begins with after_previous()")
      at_body = 0
    }
    /__global__/ { in_head = 1 }
    in_head && /[{;][ \t]*$/ { at_body = /\{[ \t]*$/; in_head = 0 }' "$@"
}

# Patterns are written so that they do not match themselves.
check_words() {  # text files
  local words='(^|[^[:alnum:]_])(TO[D]O|FIX[M]E|XX[X])($|[^[:alnum:]_])'
  local homes='(^|[^[:alnum:]_.])/(home|Users)/[[:alnum:]]|(^|[^[:alnum:]_.])/roo[t]/'
  local hosts='py[p]i\.org|python[h]osted\.org|npm[j]s\.org|crate[s]\.io|anacond[a]\.(org|com)'
  hosts+='|ruby[g]ems\.org|proxy\.go[l]ang\.org|(index|hub|registry-1)\.docke[r]\.(io|com)|ghc[r]\.io'
  search -E "$words" 'a note of unfinished work; finish it or leave it out' "$@"
  search -E "$homes" "a home folder; paths are relative, or the user's to give" "$@"
  search -E "$hosts" 'the host of a package registry; packages come from the distribution' "$@"
  [[ ${#root} -lt 6 ]] || search -F "$root" 'the path of this very checkout' "$@"
}

search() {  # -E or -F, pattern, what it means, files
  local kind=$1 pattern=$2 meaning=$3
  shift 3
  { grep -I -H -n -o "$kind" -e "$pattern" -- "$@" || [[ $? == 1 ]]; } | awk -v meaning="$meaning" '{
    match($0, /^[^:]*:[0-9]+:/)
    printf "%s %s (%s)\n", substr($0, 1, RLENGTH), meaning, substr($0, RLENGTH + 1)
  }'
}

mapfile -t files < <(list_files)
sources=()
for file in "${files[@]}"; do
  case $file in
    *.h | *.cpp | *.cu | *.cuh) sources+=("$file") ;;
  esac
done
if [[ ${#sources[@]} == 0 ]]; then
  echo "[layering] no sources under $root; name the root of the project" >&2
  exit 2
fi

violations=$(check_includes "${sources[@]}" && check_kernels "${sources[@]}" &&
  check_words "${files[@]}")
if [[ -n $violations ]]; then
  printf '%s\n' "$violations"
  echo "[layering] $(wc -l <<<"$violations") violations in ${#files[@]} files"
  exit 1
fi
echo "[layering] ${#sources[@]} sources keep the layers, ${#files[@]} files keep the house rules"
