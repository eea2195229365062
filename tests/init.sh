#!/usr/bin/env bash
# Tests `akv-init exec --init` as process 1 and as an ordinary process: cases from the test suites of other inits, and its
# own features.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/init.sh [--table]
#
# With --table the same cases also run on tini, dumb-init and catatonit, and a table in Markdown shows which of them pass.
# Needs root, for PID namespaces. Each check prints one line; the exit code is 0 if and only if all of them pass.

set -euo pipefail

cannot() {
    echo "tests/init.sh cannot run: $*" >&2
    exit 2
}

case ${1-} in
    '') others=() ;;
    --table) others=(tini dumb-init catatonit) ;;
    *) cannot "usage: tests/init.sh [--table]" ;;
esac
[ -n "${AKV_INIT_TEST_BINARY:-}" ] || cannot "AKV_INIT_TEST_BINARY does not name the static binary to test"
AKV_INIT_TEST_BINARY=$(realpath -e "$AKV_INIT_TEST_BINARY") || cannot "there is no $AKV_INIT_TEST_BINARY"
[ "$(id -u)" = 0 ] || cannot "it needs root, for namespaces"
for program in bash cargo gcc python3 setpriv timeout unshare "${others[@]}"; do
    command -v "$program" >/dev/null || cannot "there is no $program"
done
unshare --mount --pid --fork true || cannot "namespaces are not allowed here"

repository=$(realpath "$(dirname "$0")/..")
target=$(realpath -m "${CARGO_TARGET_DIR:-$repository/target}")
CARGO_TARGET_DIR=$target cargo build --quiet --manifest-path "$repository/Cargo.toml" --example standin ||
    cannot "the fake Azure does not build"

SCRATCH=$(mktemp -d)
trap 'rm -rf --one-file-system "$SCRATCH"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
PROBE=$SCRATCH/probe
gcc -O1 -Wall -Wextra -Werror -static -o "$PROBE" "$repository/tests/init/probe.c" || cannot "the probe does not build"
if [ ${#others[@]} != 0 ]; then
    # shellcheck disable=SC2016 # for dpkg-query
    dpkg-query --show --showformat '${Package} ${Version}\n' "${others[@]}" 2>/dev/null || true
fi

export AKV_INIT_TEST_BINARY PROBE SCRATCH STANDIN=$target/debug/examples/standin PYTHONDONTWRITEBYTECODE=1
# Every wait in the suite has a timeout; this one is for a bug in the suite itself.
timeout --kill-after 5 300 python3 "$repository/tests/init/suite.py" "$@"
