#!/bin/bash
# Proves, on the release binary, that it gets along with an emulator of Key Vault that others wrote: Lowkey Vault
# (https://github.com/nagyesta/lowkey-vault), at a host that no cloud knows and no option allows. What its tokens are
# for is only known from its own challenge, and they come from its own identity endpoint. It judges neither tokens nor
# api-versions as the real service does: an independent voice for how secrets are read, not for how they are refused.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/lowkey.sh
#
# It runs in a network namespace, which lives as long as its process. Needs root, Java 17 and Maven, which fetches it
# once into its own cache, openssl, and what tests/namespace/common.sh asks for. Every check prints a sentence; the exit
# code is 0 if and only if all of them hold, 2 if they could not be made.

set -euo pipefail
# shellcheck source=tests/namespace/common.sh
source "$(dirname "$0")/namespace/common.sh"

artifact=com.github.nagyesta.lowkey-vault:lowkey-vault-app:3.4.33
host=kv1.lowkey.example
# A parent domain of the host, or the challenge would not be believed.
resource=lowkey.example

command -v java >/dev/null || cannot "there is no java (Debian: openjdk-17-jre-headless)"
command -v mvn >/dev/null || cannot "there is no mvn (Debian: maven)"
command -v openssl >/dev/null || cannot "there is no openssl"
major=$(java -XshowSettings:properties -version 2>&1 | awk '$1 == "java.specification.version" { print $3 }')
awk -v major="$major" 'BEGIN { exit !(major >= 17) }' || cannot "java is \"$major\", and Lowkey Vault needs 17"

lowkey=$tmp/lowkey
mkdir "$lowkey"
(cd "$lowkey" && mvn --batch-mode --quiet dependency:copy -Dartifact="$artifact" -DoutputDirectory="$lowkey") \
    >"$lowkey/mvn" 2>&1 || cannot "Maven does not fetch $artifact: $(grep -m 1 ERROR "$lowkey/mvn")"
jar=$(echo "$lowkey"/lowkey-vault-app-*.jar)
[ -f "$jar" ] || cannot "Maven has fetched no $jar"

# ---------------------------------------------------------------------------------------------------------------------
# The vault
# ---------------------------------------------------------------------------------------------------------------------

(
    cd "$lowkey"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=CA of a test' -keyout ca.key -out ca.pem
    openssl req -newkey rsa:2048 -nodes -subj "/CN=$host" -keyout leaf.key -out leaf.csr
    printf 'subjectAltName=DNS:%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' "$host" >leaf.ext
    openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out leaf.pem
    openssl pkcs12 -export -in leaf.pem -inkey leaf.key -certfile ca.pem -passout pass:changeit -out leaf.p12
) >"$lowkey/openssl" 2>&1 || cannot "openssl makes no certificate: $(tail -n 1 "$lowkey/openssl")"

first=11111111111111111111111111111111
second=22222222222222222222222222222222
# Its import has the same for the vault and for each version of a secret.
python3 - "$lowkey/import.json" "$host" "$first" "$second" <<'PYTHON'
import json, sys, time

path, host, first, second = sys.argv[1:]
now = int(time.time())
recovery = {"recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}


def version(name, number, age, value):
    return {
        "vaultBaseUri": f"https://{host}", "entityId": name, "entityVersion": number,
        "attributes": {"enabled": True, "created": now - age, "updated": now - age, **recovery},
        "tags": {}, "managed": False, "value": value, "contentType": "text/plain",
    }


secrets = {
    "sql-sa": [version("sql-sa", first, 200, "the old value"), version("sql-sa", second, 100, 'pa$$ "wörd" {vault}')],
    "other": [version("other", first, 100, "another value")],
}
vault = {
    "attributes": {"baseUri": f"https://{host}", "created": now - 300, "deleted": None, **recovery},
    "keys": {}, "certificates": {},
    "secrets": {name: {"versions": versions} for name, versions in secrets.items()},
}
with open(path, "w") as file:
    json.dump({"vaults": [vault]}, file)
PYTHON

# Nothing of it outlives this script, which ends it by its pid; the limit is for a script that was killed.
env -i PATH="$PATH" ${JAVA_HOME:+"JAVA_HOME=$JAVA_HOME"} unshare --net -- sh -c \
    'ip link set lo up && ip address add 169.254.169.254/32 dev lo && exec "$@"' sh \
    timeout 300 java -jar "$jar" --server.port=443 --app.token.port=80 \
    --server.ssl.key-store="$lowkey/leaf.p12" --server.ssl.key-store-type=PKCS12 \
    --server.ssl.key-store-password=changeit --LOWKEY_AUTH_RESOURCE="$resource" --LOWKEY_VAULT_NAMES=- \
    --LOWKEY_IMPORT_LOCATION="$lowkey/import.json" --LOWKEY_IMPORT_TEMPLATE_HOST="$host" \
    --LOWKEY_IMPORT_TEMPLATE_PORT=443 <"$tmp/stdin" >"$lowkey/stdout" 2>"$lowkey/stderr" 9>&- &
jvm=$!

hosts hosts "127.0.0.1 $host"
: >"$tmp/resolv.none"
enter "$jvm" hosts resolv.none

# Both ports open after the import, and the machine may be slow.
ready=
for ((try = 0; try < 240; try++)); do
    kill -0 "$jvm" 2>/dev/null || break
    ! nsenter --net="/proc/$jvm/ns/net" python3 -c '
import socket
for port in (443, 80):
    socket.create_connection(("127.0.0.1", port), 1).close()' 2>/dev/null || { ready=yes && break; }
    sleep 0.25
done
[ -n "$ready" ] || cannot "Lowkey Vault ended, or was not ready within 60 s: $(tail -n 5 "$lowkey/stdout" "$lowkey/stderr")"
echo "# Lowkey Vault, ready after $SECONDS s"

# ---------------------------------------------------------------------------------------------------------------------
# The parts: functions that print their checks
# ---------------------------------------------------------------------------------------------------------------------

# The binary under test in an environment of its own: the machine's may name other certificates.
akv=("${here[@]}" env -i PATH=/usr/bin:/bin "SSL_CERT_FILE=$lowkey/ca.pem"
    AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:80 "$binary")

part_exec() {
    echo "# Secrets"
    attempt "${akv[@]}" exec --secret SECRET="akv://$host/sql-sa" -- printenv SECRET
    check "a secret of a host that no cloud knows arrives, its newest version, and nothing is said" \
        equal '0 pa$$ "wörd" {vault}' "$code $output"
    attempt "${akv[@]}" exec --verbose --secret SECRET="akv://$host/sql-sa" -- true
    check "what the token is for was taken from the vault's own challenge" \
        has "$code $output" "0 " "$host wants a token for https://$resource"
    attempt "${akv[@]}" exec --secret OLD="akv://$host/sql-sa/$first" --secret NEW="akv://$host/sql-sa/$second" \
        --secret OTHER="https://$host/secrets/other" -- printenv OLD NEW OTHER
    check "two versions of one secret, and another secret by its URL" \
        equal $'0 the old value\npa$$ "wörd" {vault}\nanother value' "$code $output"
    attempt "${here[@]}" env -i PATH=/usr/bin:/bin "SSL_CERT_FILE=$lowkey/ca.pem" "$binary" exec \
        --secret SECRET="akv://$host/other" -- printenv SECRET
    check "the same at IMDS's built-in address" equal "0 another value" "$code $output"
}

part_refused() {
    echo "# What is not there"
    local kind
    for kind in no-such-secret "sql-sa/33333333333333333333333333333333"; do
        attempt "${akv[@]}" exec --timeout 10 --secret SECRET="akv://$host/$kind" -- printenv SECRET
        # Its 404 has not the code of the real service, by which a missing secret is told from a foreign server.
        check "$kind: COMMAND is not started, and the code is 66 or 76 ($code)" matches '^(66|76)$' "$code"
        check "one error line, which names the secret and the status" \
            matches "^akv-init: error: reading secret \`$kind\` from $host for SECRET: 404 " \
            "$(grep '^akv-init: error: ' <<<"$output")"
        check "and no panic" equal 0 "$(grep -c panicked <<<"$output" || true)"
    done
}

part_token() {
    echo "# A token from its identity endpoint"
    local audience
    for audience in https://database.windows.net/ "https://$resource"; do
        attempt "${akv[@]}" token "$audience"
        check "for $audience: one word without a line end, and nothing is said" \
            matches '^0 [A-Za-z0-9._~+/=-]+$' "$code $output"
        # `attempt` takes line ends away, and does not tell one output from the other.
        "${akv[@]}" token "$audience" >"$tmp/token" 2>"$tmp/token.stderr" || true
        check "it is on standard output" equal "yes 0 0" \
            "$([ -s "$tmp/token" ] && echo yes) $(wc -l <"$tmp/token") $(wc -c <"$tmp/token.stderr")"
    done
}

for part in exec refused token; do
    # As a job, since it then ends at what it cannot do, and the others go on.
    "part_$part" >"$tmp/part" 2>&1 &
    wait $! || echo "FAILED  \"$part\" runs to its end" >>"$tmp/part"
    tee -a "$tmp/found" <"$tmp/part"
done
total "$tmp/found"
