#!/usr/bin/env bash
# A herd at one vault: 60 processes that start at once read 3 secrets each from a vault that answers 40 requests in any 2 s
# and throttles the others. None may fail, the vault may get less than 3 times the requests that are needed, and all must be
# up one longest pause after the least possible time.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/herd.sh
#
# Without AKV_INIT_TEST_BINARY it tests the one that cargo builds. Needs cargo; takes half a minute. Prints the figures; the
# exit code is 0 if they are within their bounds, 2 if they could not be measured. `bench/herd` simulates larger herds.
set -euo pipefail

processes=60 secrets=3 limit=40 window=2
# Of a process, in seconds: one that has just begun it when the vault has room again is the last.
longest_pause=16

cannot() {
    echo "tests/herd.sh cannot run: $*" >&2
    exit 2
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tests/built.sh
source tests/built.sh

work=$(mktemp -d)
# The fake Azure ends when the pipe that is its standard input does.
mkfifo "$work/stdin"
trap 'exec 9>&-; wait; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
"$built/examples/standin" --dir "$work" --vault-limit "$limit/$window" --secret a=1 --secret b=2 --secret c=3 \
    <"$work/stdin" >"$work/stdout" &
exec 9>"$work/stdin"
until grep -q '^ready$' "$work/stdout"; do
    kill -0 $! || cannot "the fake Azure does not start"
    sleep 0.05
done
address() { awk -v name="$1" '$1 == name { print $2 }' "$work/stdout"; }
vault=$(address vault)

milliseconds() { echo $((${EPOCHREALTIME/./} / 1000)); }

start=$(milliseconds)
pids=()
for ((process = 0; process < processes; process++)); do
    env -i AZURE_POD_IDENTITY_AUTHORITY_HOST="$(address imds)" SSL_CERT_FILE="$work/ca.pem" \
        AKV_INIT_QUIET=true AKV_INIT_ALLOW_VAULT="$vault" A="akv://$vault/a" B="akv://$vault/b" C="akv://$vault/c" \
        "$binary" exec -- /bin/true 9>&- &
    pids+=($!)
done
failed=0
for pid in "${pids[@]}"; do
    wait "$pid" || failed=$((failed + 1))
done
took=$(($(milliseconds) - start))

requests=$(grep -c '"endpoint":"vault"' "$work/requests.jsonl")
needed=$((processes * secrets))
# The first requests are answered at once, the next ones when the window has passed, and so on.
least=$(((needed - 1) / limit * window * 1000))
echo "$processes processes, $secrets secrets each: $failed failed; $requests requests for $needed secrets;" \
    "all up after $took ms, at the earliest $least ms"
[ "$failed" = 0 ] || { echo "a process failed"; exit 1; }
[ "$requests" -lt $((3 * needed)) ] || { echo "3 times the requests that are needed, or more"; exit 1; }
[ "$took" -le $((least + longest_pause * 1000)) ] || { echo "later than that and the longest pause"; exit 1; }
