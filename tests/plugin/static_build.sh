#!/usr/bin/env bash
# A static program loads no plugins, and says so:  static_build.sh RECALLBENCH
set -euo pipefail
code=0
message=$("$1" --plugin any.so list mixers 2>&1 >/dev/null) || code=$?
printf '%s\n' "$message"
[[ $code -eq 4 && $message == *'static build'* ]]
