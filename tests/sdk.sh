#!/usr/bin/env bash
# Proves that the stand-in for Azure behaves like Azure: Microsoft's own SDK for Python gets its
# secret from it, with a managed identity of a machine and of App Service, with a workload identity, with a client
# secret and with a certificate, and understands its refusals. If the SDK fails here, the stand-in is wrong, and with it
# every test that leans on it.
#
# Needs cargo, python3 with venv, and a package index that pip can reach. Ends with 2, and says why, when one is
# missing; with 1 when the SDK and the stand-in disagree.
set -euo pipefail

identity_version=1.27.0
secrets_version=4.12.0

cannot() {
    echo "tests/sdk.sh cannot run: $*" >&2
    exit 2
}
fail() {
    echo "tests/sdk.sh: $*" >&2
    exit 1
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v cargo >/dev/null || cannot "cargo is not on the PATH"
command -v python3 >/dev/null || cannot "python3 is not on the PATH"

work=$(mktemp -d)
standin=
clean_up() {
    # By its pid: it may have ended by itself, which the checks below have reported.
    [ -z "$standin" ] || kill "$standin" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT

cargo build --quiet --example standin || cannot "the stand-in does not build"

python3 -m venv "$work/venv" || cannot "python3 -m venv failed (Debian: apt-get install python3-venv)"
"$work/venv/bin/pip" install --quiet "azure-identity==$identity_version" "azure-keyvault-secrets==$secrets_version" ||
    cannot "pip could not install the SDK"

client_id=6f0b3c1e-52a7-4d08-9c4b-e1d2a3b4c5f6
mkdir "$work/azure"
"${CARGO_TARGET_DIR:-target}/debug/examples/standin" --dir "$work/azure" --identity "$client_id" \
    --secret 'sql-sa=pa$$ wörd {vault}' --disabled retired >"$work/doors" &
standin=$!
for _ in $(seq 100); do
    ! grep -q '^ready$' "$work/doors" || break
    kill -0 "$standin" 2>/dev/null || fail "the stand-in ended before it was ready"
    sleep 0.1
done
grep -q '^ready$' "$work/doors" || fail "the stand-in was not ready within 10 seconds"
door() { awk -v name="$1" '$1 == name { print $2 }' "$work/doors"; }

# A cleared environment: certificates come from the stand-in alone, and no proxy comes between.
env -i PATH="$PATH" AZURE_POD_IDENTITY_AUTHORITY_HOST="$(door imds)" PYTHONUTF8=1 \
    "$work/venv/bin/python" tests/sdk.py "$work/azure" "$(door vault)" "$client_id" 'pa$$ wörd {vault}' ||
    fail "the SDK did not get what it came for"

kill "$standin"
wait "$standin" || fail "the stand-in did not end well on SIGTERM"
standin=
echo "tests/sdk.sh: azure-identity $identity_version and azure-keyvault-secrets $secrets_version agree with the stand-in"
