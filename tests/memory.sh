#!/bin/bash
# Proves, on the release binary as it is, that too little memory ends it with exit code 69 and its own message, or by the
# kernel's OOM killer where the limit is that of a container; that nothing crashes or hangs, with any number of secrets;
# and that what docs/operations.md says to be enough is enough.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/memory.sh
#
# Needs root, for cgroups, cargo and strace; takes a minute. Prints tables of how each run has ended: `-` where the
# limit does not even let the kernel start the program.

set -euo pipefail
# shellcheck source=tests/namespace/common.sh
source "$(dirname "$0")/namespace/common.sh"
command -v strace >/dev/null || cannot "there is no strace"
build_standin

mkdir "$tmp/azure"
secrets=()
for number in {1..40}; do
    secrets+=(--secret "s$number=value-of-s$number")
done
env -i PATH="$PATH" "$standin" --dir "$tmp/azure" "${secrets[@]}" \
    <"$tmp/stdin" >"$tmp/azure/stdout" 2>"$tmp/azure/stderr" 9>&- &
until_it_says azure stdout '^ready$'
address() { awk -v name="$1" '$1 == name { print $2 }' "$tmp/azure/stdout"; }

python3 "$(dirname "$0")/memory/table.py" "$binary" "$tmp/azure" "$(address imds)" "$(address vault)"
