#!/bin/bash
# Tests the release binary under seccomp profiles: each system call that a command makes is refused, once with EPERM as a
# container engine does and once with ENOSYS as an old kernel does. The command then works all the same, or fails with a
# documented exit code and an error; it never hangs, aborts, prints a secret or writes half of its files.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/sweep.sh [COMMAND [CALL]]
#
# COMMAND, CALL: only that row of the table and that system call, with all output. 169.254.169.254 and the vault are the
# fake Azure, behind a name server, in a network namespace. Needs root, cargo, gcc, dnsmasq, strace and what
# tests/namespace/common.sh requires; takes a minute. What is checked is in tests/sweep/sweep.py. The exit code is 0 if
# all of it holds, 2 if it could not be checked.

set -euo pipefail
# shellcheck source=tests/namespace/common.sh
source "$(dirname "$0")/namespace/common.sh"
for program in dnsmasq gcc strace; do
    command -v "$program" >/dev/null || cannot "there is no $program"
done
strace -o /dev/null true || cannot "processes may not be traced here"
build_standin
gcc -O1 -Wall -Wextra -Werror -static -no-pie -o "$tmp/refuse" "$repository/tests/sweep/refuse.c" ||
    cannot "the launcher does not build"

mkdir "$tmp/azure"
address='ip link set lo up && ip address add 169.254.169.254/32 dev lo'
env -i PATH="$PATH" unshare --net -- sh -c "$address && exec \"\$@\"" sh "$standin" --dir "$tmp/azure" \
    --imds 169.254.169.254:80 --vault 127.0.0.10:443 --name kv1.vault.azure.net --secret old=sentinel-old \
    --secret a=sentinel-a --secret b=sentinel-b <"$tmp/stdin" >"$tmp/azure/stdout" 2>"$tmp/azure/stderr" 9>&- &
network=$!
until_it_says azure stdout '^ready$'
dns "$network" names 127.0.0.53 --local=/#/ --host-record=kv1.vault.azure.net,127.0.0.10
until_it_says names log 'cleared cache'
hosts hosts
enter "$network" hosts resolv.names
timeout --kill-after 5 300 "${here[@]}" python3 "$repository/tests/sweep/sweep.py" "$binary" "$tmp/refuse" \
    "$tmp/azure/ca.pem" "$tmp" "$@"
