#!/usr/bin/env bash
# Tests, on the real binary, that every reader of a file of `akv-init write` gets each value back byte for byte, or that no
# file is written: dotenv with dash, bash, systemd's own parser of environment files, python-dotenv (the newest, and one
# from before it understood `\\"`) and Compose's own parser; k8s-env with the kubelet's own parser; json with jq. The values
# are in tests/formats/cases.py.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/formats.sh
#
# Without AKV_INIT_TEST_BINARY it tests the one that cargo builds. Needs cargo, Go 1.25, Python 3.10 with venv, dash,
# bash, jq, libsystemd-shared, a package index and a Go module proxy. Every check prints a sentence; the exit code is 0 if
# and only if all of them pass, 2 if they could not run.
set -euo pipefail

# Before 1.2.3, python-dotenv took the end of "\\" for an escaped quote.
dotenv_versions=(1.2.4 1.0.1)

cannot() {
    echo "tests/formats.sh cannot run: $*" >&2
    exit 2
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
for program in cargo go python3 dash bash jq; do
    command -v "$program" >/dev/null || cannot "there is no $program"
done

work=$(mktemp -d -p /dev/shm) || cannot "there is no /dev/shm, and on a disk akv-init prints a warning"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# shellcheck source=tests/built.sh
source tests/built.sh

for reader in compose kubelet; do
    (cd "tests/formats/$reader" && go build -buildvcs=false -o "$work/$reader" .) ||
        cannot "the reader $reader does not build"
done
python3 -m venv "$work/venv" || cannot "python3 -m venv failed (Debian: apt-get install python3-venv)"
for version in "${dotenv_versions[@]}"; do
    "$work/venv/bin/pip" install --quiet --no-deps --target "$work/dotenv-$version" "python-dotenv==$version" ||
        cannot "pip could not install python-dotenv $version"
done
(cd tests/formats && "$work/venv/bin/python" -B -c 'import sys, systemd; sys.exit(not systemd.library_path())') ||
    cannot "there is no libsystemd-shared (Debian: apt-get install libsystemd-shared)"

"$work/venv/bin/python" -B -u tests/formats/check.py "$binary" "$built/examples/standin" "$work"
echo "in $SECONDS s"
