#!/usr/bin/env bash
# A herd at one vault: 60 processes that start at once read 3 secrets each from a vault that answers 40 requests in any 2 s
# and throttles the others. None may fail, the vault may get at most 2.5 times the requests that are needed, and all must be
# up within 1.5 times the least possible time.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/herd.sh
#
# Without AKV_INIT_TEST_BINARY it tests the one that cargo builds. Needs cargo; takes a quarter of a minute. Prints the
# figures; the exit code is 0 if they are within their bounds, 2 if they could not be measured. Pauses are random, and in the
# simulation of `bench/herd` one run in ten takes longer: a run that does is repeated, twice at most.
set -euo pipefail

processes=60 secrets=3 limit=40 window=2
needed=$((processes * secrets))
# The first requests are answered at once, the next ones when the window has passed, and so on.
least=$(((needed - 1) / limit * window * 1000))

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

requests() { grep -c '"endpoint":"vault"' "$work/requests.jsonl" || true; }

# Prints when the vault has more than $1 requests, or the current time after 30 s without one.
first_request() {
    local poll
    for ((poll = 0; poll < 1500; poll++)); do
        [ "$(requests)" = "$1" ] || break
        sleep 0.02
    done
    milliseconds
}

# Starts the processes and waits for them. Leaves in $took how long they took from the first request on: until then, a busy
# machine was still starting them.
herd() {
    local before sent watch end failed=0 process pid pids=()
    before=$(requests)
    first_request "$before" >"$work/start" 9>&- &
    watch=$!
    for ((process = 0; process < processes; process++)); do
        env -i AZURE_POD_IDENTITY_AUTHORITY_HOST="$(address imds)" SSL_CERT_FILE="$work/ca.pem" \
            AKV_INIT_QUIET=true AKV_INIT_ALLOW_VAULT="$vault" A="akv://$vault/a" B="akv://$vault/b" C="akv://$vault/c" \
            "$binary" exec -- /bin/true 9>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || failed=$((failed + 1))
    done
    end=$(milliseconds)
    [ "$failed" = 0 ] || { kill "$watch" || true; echo "$failed of $processes processes failed"; exit 1; }
    wait "$watch"
    took=$((end - $(<"$work/start")))
    sent=$(($(requests) - before))
    echo "$processes processes, $secrets secrets each: $sent requests for $needed secrets;" \
        "all up after $took ms, at the earliest $least ms"
    [ $((2 * sent)) -le $((5 * needed)) ] || { echo "more than 2.5 times the requests that are needed"; exit 1; }
}

for _ in 1 2 3; do
    herd
    [ $((2 * took)) -gt $((3 * least)) ] || exit 0
    sleep "$window"
done
echo "later than 1.5 times that, three times"
exit 1
