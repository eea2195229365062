#!/bin/bash
# Proves, on the release binary as it is and with its built-in addresses, that `check` names the link that fails in a
# set-up, and how to fix it. Each set-up is real, in a network namespace: routes, name servers, proxies, certificates,
# clocks, identities, refusals. `exec` runs beside `check`, with the same options.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/check.sh [WORDS]
#
# WORDS: only the set-ups with these words in their name, with all output. 169.254.169.254, login.microsoftonline.com and
# the vaults are the fake Azure, by a hosts file or a name server. Needs root, cargo, dnsmasq and what
# tests/namespace/common.sh requires; takes half a minute. Prints one line for each set-up: how long the verdict took, the
# exit code, what the failed link says, and what its hint says (after `~`: what `exec` cannot know). The other conditions
# are in tests/check/compare.py. The exit code is 0 if all of them hold, 2 if they could not be checked.

set -euo pipefail
# shellcheck source=tests/namespace/common.sh
source "$(dirname "$0")/namespace/common.sh"
command -v dnsmasq >/dev/null || cannot "there is no dnsmasq (Debian: dnsmasq-base)"
build_standin
ours=$repository/tests/check
only=${1:-}

# ---------------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------------

# network NAME [ADDRESS...]: starts a network that has these addresses; its process is in $network. There is no route to
# anywhere else but to 192.0.2.0/24 (TEST-NET-1), where everything vanishes.
network() {
    local address up='ip link set lo up && ip route add 192.0.2.0/24 dev lo'
    mkdir "$tmp/$1"
    for address in "${@:2}"; do
        up+=" && ip address add $address/32 dev lo"
    done
    unshare --net -- sh -c "$up && echo up && exec cat" <"$tmp/stdin" >"$tmp/$1/stdout" 2>"$tmp/$1/stderr" 9>&- &
    network=$!
    until_it_says "$1" stdout '^up$'
}

# standin NETWORK NAME FLAG...: starts a stand-in for Azure in the network of that process; its files are in $tmp/NAME.
standin() {
    mkdir "$tmp/$2"
    nsenter --net="/proc/$1/ns/net" env -i PATH="$PATH" "$standin" --dir "$tmp/$2" --name login.microsoftonline.com \
        --name vault.corp.example "${@:3}" <"$tmp/stdin" >"$tmp/$2/stdout" 2>"$tmp/$2/stderr" 9>&- &
}

# All that may not be seen has a word of its own. The value has a length that no other number has.
length=7919
value=sentinel-value-$(head -c $((length - 15)) /dev/zero | tr '\0' x)

network main 169.254.169.254 169.254.130.2 10.20.0.7 198.18.0.7
main=$network
network two 169.254.169.254
two=$network
network bare
bare=$network

standin "$main" azure --imds 169.254.169.254:80 --platform 169.254.130.2:8081 --login 127.0.0.11:443 \
    --vault 127.0.0.10:443 --proxy 127.0.0.8:3128 --proxy-credentials user:sentinel-password \
    --secret "kv1/s1=$value" --secret "vault/s1=$value" --secret "slow=$value" --disabled off --vault-says slow=slow \
    --vault-says throttled=throttled --vault-says rbac=rbac --vault-says policy=access-policy \
    --vault-says firewall=firewall --vault-says private=private-endpoint
standin "$main" expired --vault 127.0.0.20:443 --shows vault=expired
# A private endpoint, and a vault's public address.
for address in 10.20.0.7 198.18.0.7; do
    standin "$main" "at-$address" --vault "$address:443" --vault-says private=private-endpoint
done
standin "$main" other --vault 127.0.0.21:443 --shows vault=other-name
# What a company puts between its machines and the internet: behind it everything has a certificate of the company's.
standin "$main" inspecting --proxy 127.0.0.9:3128 --login 127.0.0.31:443 --vault 127.0.0.30:443 --secret "s1=$value" \
    --ca-name 'Contoso TLS inspection'
standin "$main" ahead --login 127.0.0.41:443 --vault 127.0.0.40:443 --secret "s1=$value" --clock 3600
standin "$two" identities --imds 169.254.169.254:80 --vault 127.0.0.10:443 --secret "s1=$value" \
    --identity 11111111-1111-4111-8111-111111111111 --identity 22222222-2222-4222-8222-222222222222
# What takes connections and never says a word, and what answers without TLS, as a captive portal does.
mkdir "$tmp/others"
nsenter --net="/proc/$main/ns/net" timeout 300 python3 - >"$tmp/others/stdout" 2>"$tmp/others/stderr" 9>&- <<'P' &
import http.server, socket
mute = socket.create_server(("127.0.0.13", 443), backlog=64)
portal = http.server.ThreadingHTTPServer(("127.0.0.14", 443), http.server.BaseHTTPRequestHandler)
print("ready", flush=True)
portal.serve_forever()
P
for name in azure expired at-10.20.0.7 at-198.18.0.7 other inspecting ahead identities others; do
    until_it_says "$name" stdout '^ready$'
done

hosts hosts.none
hosts hosts '127.0.0.10 kv1.vault.azure.net kv2.vault.azure.net vault.corp.example' \
    '127.0.0.11 login.microsoftonline.com' '127.0.0.8 proxy.corp.example' '127.0.0.12 refusing.vault.azure.net' \
    '192.0.2.1 silent.vault.azure.net' '198.51.100.7 away.vault.azure.net' '127.0.0.20 expired.vault.azure.net' \
    '10.20.0.7 linked.vault.azure.net' '198.18.0.7 public.vault.azure.net' \
    '127.0.0.21 other.vault.azure.net' '127.0.0.13 mute.vault.azure.net' '127.0.0.14 portal.vault.azure.net'
hosts hosts.ahead '127.0.0.40 kv1.vault.azure.net' '127.0.0.41 login.microsoftonline.com'
: >"$tmp/resolv.none"
resolv resolv.silent 192.0.2.53
# --local=/#/: whatever is not said here does not exist.
dns "$main" azure_names 127.0.0.53 --local=/#/ --host-record=kv1.vault.azure.net,127.0.0.10 \
    --host-record=login.microsoftonline.com,127.0.0.11
dns "$main" no_names 127.0.0.54 --local=/#/
dns "$main" wildcard 127.0.0.55 --local=/#/ --address=/corp.example/127.0.0.21
printf '%s\n' 'nameserver 127.0.0.55' 'search corp.example' 'options ndots:5' >"$tmp/resolv.wildcard"
for name in azure_names no_names wildcard; do
    until_it_says "$name" log 'cleared cache'
done

# ---------------------------------------------------------------------------------------------------------------------
# Identities and programs
# ---------------------------------------------------------------------------------------------------------------------

# environment STANDIN SOURCE: the environment of a source of identity. AZURE_AUTHORITY_HOST is what AKS sets, too; here
# the built-in one is to be tested.
environment() {
    grep -v '^AZURE_AUTHORITY_HOST=' "$tmp/$1/$2.env"
}
mapfile -t workload < <(environment azure workload)
mapfile -t principal < <(environment azure secret)
mapfile -t app_service < <(environment azure app-service)
mapfile -t behind_inspection < <(environment inspecting workload)
mapfile -t late_certificate < <(environment ahead certificate)
mapfile -t late_secret < <(environment ahead secret)

# federated FILE CLAIMS: a service account token with these claims (JSON) in place of the good ones.
federated() {
    python3 - "$1" "$2" <<'P'
import base64, json, sys
claims = {"aud": ["api://AzureADTokenExchange"], "iss": "https://oidc.example.com/standin/",
          "sub": "system:serviceaccount:default:app", "iat": 1700000000, "nbf": 1700000000, "exp": 4102444800}
claims.update(json.loads(sys.argv[2]))
parts = [json.dumps({"alg": "RS256"}), json.dumps(claims), "sentinel-signature"]
with open(sys.argv[1], "w") as file:
    file.write(".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts))
P
}
federated "$tmp/other_subject" '{"sub": "system:serviceaccount:default:default"}'
federated "$tmp/stale" '{"exp": 1700003600}'

printf '#!/bin/nowhere\n' >"$tmp/no_interpreter"
# Offset 18 of an ELF header is the machine (elf(5)). 50 is EM_IA_64, which QEMU emulates for no other one: where it is
# registered with binfmt_misc, the kernel starts programs for most machines.
python3 - /bin/true "$tmp/foreign" <<'P'
import sys
program = open(sys.argv[1], "rb").read()
open(sys.argv[2], "wb").write(program[:18] + bytes([50]) + program[19:])
P
chmod +x "$tmp/no_interpreter" "$tmp/foreign"
cp /bin/true "$tmp/not_executable"
chmod -x "$tmp/not_executable"

# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------

# Set-ups at a time, each with four processes that mostly wait.
together=6
rows=0
running=()

finish_one() {
    local ended=0 pid still=()
    wait -n -p ended "${running[@]}" || true
    for pid in "${running[@]}"; do
        [ "$pid" = "$ended" ] || still+=("$pid")
    done
    running=(${still[@]+"${still[@]}"})
}

# row WHAT CODE FAILED HINT [VARIABLE...] :: [OPTION...] :: [COMMAND...]: checks a set-up in the network of the last
# `enter`, with nothing in the environment but PATH and these variables.
row() {
    local variables=()
    [[ $1 == *"$only"* ]] || return 0
    rows=$((rows + 1))
    local expected=("${@:1:4}") output=$tmp/output.$rows
    shift 4
    while [ "$1" != :: ]; do
        variables+=("$1")
        shift
    done
    python3 "$ours/compare.py" "$output" "${expected[@]}" "${here[@]}" \
        env -i PATH=/usr/bin:/bin ${variables[@]+"${variables[@]}"} "$binary" "$@" >"$tmp/row.$rows" 2>&1 9>&- &
    running+=($!)
    [ ${#running[@]} -lt $together ] || finish_one
}

ca=SSL_CERT_FILE=$tmp/azure/ca.pem
# secret NAME [VAULT]: leaves in $secret the words for one secret and a COMMAND.
secret() {
    secret=(:: --secret "SECRET=akv://${2:-kv1}/$1" :: true)
}
secret s1
stranger=33333333-3333-4333-8333-333333333333
corporate=(--allow-vault vault.corp.example --secret SECRET=akv://vault.corp.example/s1)

enter "$main" hosts resolv.none
row 'nothing' 0 'all checks passed' '' "$ca" :: "${corporate[@]}" --vault-resource https://vault.azure.net :: true
row 'nothing, with one try each' 0 'all checks passed' '' "$ca" :: --timeout 0 "${corporate[@]}" \
    --vault-resource https://vault.azure.net :: true

# Names.
enter "$main" hosts.none resolv.silent
row 'the name server never answers (vault)' 69 \
    'name kv1.vault.azure.net: | no answer from the name servers within 3 s | name servers: 192.0.2.53' \
    "~does a network policy allow DNS" "$ca" "${secret[@]}"
row 'the name server never answers (Entra)' 69 'name login.microsoftonline.com: | no answer from the name servers within 3 s' \
    "~does a network policy allow DNS" "$ca" "${workload[@]}" "${secret[@]}"
enter "$main" hosts.none resolv.no_names
row 'NXDOMAIN for all of Azure' 69 'name login.microsoftonline.com: | name servers: 127.0.0.54' \
    'AZURE_AUTHORITY_HOST and HTTPS_PROXY' "$ca" "${workload[@]}" "${secret[@]}"
row 'no such proxy' 69 'name prxy.corp.example: | DNS has no address | this is the proxy for kv1.vault.azure.net' \
    'check HTTPS_PROXY' "$ca" HTTPS_PROXY=http://prxy.corp.example:3128 "${secret[@]}"
enter "$main" hosts.none resolv.azure_names
secret s1 kv9
row 'no such vault' 69 'name kv9.vault.azure.net: DNS has no address for the name' \
    "is the vault's name misspelt, or not in DNS yet? | privatelink.vaultcore.azure.net" "$ca" "${secret[@]}"
enter "$main" hosts.none resolv.wildcard
secret s1
row 'a wildcard in the search list (ndots:5)' 76 \
    'connection kv1.vault.azure.net: | for another name | search domain appended (corp.example)' \
    '~kv1.vault.azure.net itself does not exist in DNS | ~A wildcard in a search domain' \
    "SSL_CERT_FILE=$tmp/other/ca.pem" "${secret[@]}"

# Connections.
enter "$bare" hosts resolv.none
row 'no way to IMDS' 69 'connection 169.254.169.254: no route to the address' \
    'is this container on Azure? Check that no network policy | blocks http://169.254.169.254' "$ca" "${secret[@]}"
enter "$main" hosts resolv.none
secret s1 away
row 'no route to the vault' 69 'connection away.vault.azure.net: | no route | at 198.51.100.7 (public), from /etc/hosts' \
    'check DNS, egress rules, routes' "$ca" "${secret[@]}"
secret s1 refusing
row 'the vault refuses connections' 69 'connection refusing.vault.azure.net: | connection refused' \
    "the private endpoint's approval" "$ca" "${secret[@]}"
secret s1 silent
row 'packets to the vault vanish' 69 \
    'connection silent.vault.azure.net: | no connection within 3 s | at 192.0.2.1 (public)' \
    'egress rules' "$ca" "${secret[@]}"
secret s1 mute
row 'what is there never says a word' 69 'connection mute.vault.azure.net: | no connection within 3 s' \
    'egress rules' "$ca" "${secret[@]}"
secret s1 portal
row 'what is there does not speak TLS' 76 'connection portal.vault.azure.net: | does not speak TLS' \
    'check DNS, proxies and gateways for portal.vault.azure.net' "$ca" "${secret[@]}"
secret s1
row 'packets to IMDS vanish' 69 'connection 192.0.2.169: no connection within 3 s' 'Check that no network policy | blocks http://192.0.2.169' \
    "$ca" AZURE_POD_IDENTITY_AUTHORITY_HOST=http://192.0.2.169 "${secret[@]}"
row 'the proxy refuses connections' 69 'connection kv1.vault.azure.net: the proxy 127.0.0.9:9: connection refused' \
    'check HTTPS_PROXY' "$ca" HTTPS_PROXY=http://127.0.0.9:9 "${secret[@]}"
row 'the proxy wants a password (407)' 78 'connection kv1.vault.azure.net: | proxy.corp.example:3128 | 407' \
    'http://USER:PASSWORD@HOST:PORT' "$ca" HTTPS_PROXY=http://user:sentinel-wrong@proxy.corp.example:3128 "${secret[@]}"

# Certificates.
row 'an unknown CA' 76 \
    'connection kv1.vault.azure.net: | the certificate is not trusted | akv-init fake Azure' \
    'SSL_CERT_FILE or --ca-file' "${secret[@]}"
secret s1 expired
row 'an expired certificate' 76 \
    'connection expired.vault.azure.net: | expired at 2021-01-01 | clock: agrees with' \
    'the certificate must be renewed' "SSL_CERT_FILE=$tmp/expired/ca.pem" "${secret[@]}"
secret s1 other
row 'a certificate for another name' 76 'connection other.vault.azure.net: | for another name | another.example.com' \
    'another server answers' "SSL_CERT_FILE=$tmp/other/ca.pem" "${secret[@]}"
secret s1
row 'TLS is intercepted, by a CA that is trusted' 0 \
    'all checks passed; warnings: connection login.microsoftonline.com, connection kv1 | Contoso TLS inspection' \
    'can read tokens and secrets' "SSL_CERT_FILE=$tmp/inspecting/ca.pem" HTTPS_PROXY=http://127.0.0.9:3128 \
    "${behind_inspection[@]}" "${secret[@]}"
row 'TLS is intercepted, by a CA that is not' 76 \
    'connection login.microsoftonline.com: through the proxy 127.0.0.9:3128: | by Contoso TLS inspection' \
    'SSL_CERT_FILE or --ca-file' HTTPS_PROXY=http://127.0.0.9:3128 "${behind_inspection[@]}" "${secret[@]}"

# Clocks.
enter "$main" hosts.ahead resolv.none
row 'the clock is an hour late' 77 \
    "token https://vault.azure.net: | AADSTS700024 | clock: 60 minutes behind login.microsoftonline.com" \
    "this machine's clock" "SSL_CERT_FILE=$tmp/ahead/ca.pem" "${late_certificate[@]}" "${secret[@]}"
row 'the clock is an hour late, and no service minds' 0 'all checks passed | 60 minutes behind' 'can read tokens and secrets' \
    "SSL_CERT_FILE=$tmp/ahead/ca.pem" "${late_secret[@]}" "${secret[@]}"

# Identities.
enter "$two" hosts resolv.none
row 'two identities, and none chosen' 77 \
    'token https://vault.azure.net: from 169.254.169.254: 400 | Multiple user assigned' \
    '--client-id' "SSL_CERT_FILE=$tmp/identities/ca.pem" "${secret[@]}"
enter "$main" hosts resolv.none
row 'the identity is not attached' 77 'token https://vault.azure.net: from 169.254.169.254: 400 | Identity not found' \
    'user-assigned' "$ca" :: --client-id "$stranger" "${secret[@]:1}"
row 'no workload identity label' 78 'identity | workload identity is not set up for this pod' \
    'azure.workload.identity/use: "true" | --client-id' "$ca" KUBERNETES_SERVICE_HOST=10.96.0.1 "${secret[@]}"
row 'half a credential' 78 'identity | AZURE_TENANT_ID, AZURE_CLIENT_ID' 'set the missing variables' \
    "$ca" AZURE_CLIENT_SECRET=sentinel-client-secret "${secret[@]}"
row 'the token file is missing' 78 'token https://vault.azure.net: | AZURE_FEDERATED_TOKEN_FILE: `/nowhere`' \
    'label the pod azure.workload.identity/use' "$ca" "${workload[@]}" AZURE_FEDERATED_TOKEN_FILE=/nowhere "${secret[@]}"
row 'the token file is stale' 77 'from login.microsoftonline.com: | AADSTS700024 | clock: agrees with' \
    'and the token file, if there is one, up to date?' "$ca" "${workload[@]}" "AZURE_FEDERATED_TOKEN_FILE=$tmp/stale" "${secret[@]}"
row 'the federated credential does not match' 77 'from login.microsoftonline.com: | AADSTS700213' \
    'compare the federated credential | subject system:serviceaccount:default:default' \
    "$ca" "${workload[@]}" "AZURE_FEDERATED_TOKEN_FILE=$tmp/other_subject" "${secret[@]}"
row 'a wrong client id' 77 "from login.microsoftonline.com: | AADSTS700016 | $stranger" \
    'check AZURE_CLIENT_ID and AZURE_TENANT_ID' "$ca" "${workload[@]}" "AZURE_CLIENT_ID=$stranger" "${secret[@]}"
row 'a wrong client secret' 77 'from login.microsoftonline.com: | AADSTS7000215' \
    'not its id' \
    "$ca" "${principal[@]}" AZURE_CLIENT_SECRET=sentinel-client-secret "${secret[@]}"
row 'an old IDENTITY_HEADER' 77 'from 169.254.130.2:8081: 401' 'restart the app' \
    "$ca" "${app_service[@]}" IDENTITY_HEADER=sentinel-header "${secret[@]}"
row 'a wrong audience' 77 'secret SECRET: `s1` in vault.corp.example: 401 | AKV10022' \
    'another resource than the vault expects: check --vault-resource' \
    "$ca" :: "${corporate[@]}" --vault-resource https://management.azure.com :: true

# What the vault says.
in_kv1='in kv1.vault.azure.net'
secret rbac
row 'no role' 77 "secret SECRET: \`rbac\` $in_kv1: 403 | ForbiddenByRbac" \
    '"Key Vault Secrets User" | /vaults/kv1/secrets/rbac | --wait-for-access' "$ca" "${secret[@]}"
secret policy
row 'no access policy' 77 "secret SECRET: \`policy\` $in_kv1: 403 | AccessDenied" \
    'az keyvault set-policy --name kv1' "$ca" "${secret[@]}"
secret firewall
row "the vault's firewall" 77 "secret SECRET: \`firewall\` $in_kv1: 403 | client address 203.0.113.5" \
    "allow the client address in the vault's firewall" "$ca" "${secret[@]}"
secret private
row 'only the private endpoint is open' 77 "secret SECRET: \`private\` $in_kv1: 403 | ForbiddenByConnection" \
    'link the private DNS zone privatelink.vaultcore.azure.net' "$ca" "${secret[@]}"
secret private linked
row 'the private endpoint is not approved' 77 'secret SECRET: `private` in linked.vault.azure.net: 403' \
    "linked.vault.azure.net resolves to the private address 10.20.0.7 | connection approved" "SSL_CERT_FILE=$tmp/at-10.20.0.7/ca.pem" "${secret[@]}"
secret private public
row 'the name leads past the private endpoint' 77 'secret SECRET: `private` in public.vault.azure.net: 403' \
    'resolves to the public address 198.18.0.7: link the private DNS zone' "SSL_CERT_FILE=$tmp/at-198.18.0.7/ca.pem" "${secret[@]}"
secret off
row 'the secret is disabled' 66 "secret SECRET: \`off\` $in_kv1: 403 | SecretDisabled" 'enable the secret' \
    "$ca" "${secret[@]}"
secret absent
row 'no such secret' 66 "secret SECRET: \`absent\` $in_kv1: 404" 'check the name, the version and the vault' \
    "$ca" "${secret[@]}"
secret s1 kv2
row 'the secret is in another vault' 66 'secret SECRET: `s1` in kv2.vault.azure.net: 404' 'and the vault' \
    "$ca" "${secret[@]}"
secret throttled
row 'the vault throttles for an hour' 69 "secret SECRET: \`throttled\` $in_kv1: 429" 'requests are being throttled' \
    "$ca" "${secret[@]}"
secret slow
row 'the vault answers after 20 s' 69 "secret SECRET: \`slow\` $in_kv1: no response within 3 s" 'it is slow' \
    "$ca" "${secret[@]}"

# COMMAND.
secret=(:: --secret SECRET=akv://kv1/s1 ::)
row 'COMMAND is missing' 127 'command /nowhere/server: not found' 'is it in this image' \
    "$ca" "${secret[@]}" /nowhere/server
row 'COMMAND is not executable' 126 "command $tmp/not_executable: | Permission denied" 'chmod' \
    "$ca" "${secret[@]}" "$tmp/not_executable"
row 'COMMAND is for another machine' 126 "command $tmp/foreign: | Exec format error" "another architecture" \
    "$ca" "${secret[@]}" "$tmp/foreign"
row "COMMAND's interpreter is missing" 127 "command $tmp/no_interpreter: its interpreter" 'names `/bin/nowhere`' \
    "$ca" "${secret[@]}" "$tmp/no_interpreter"

# References, and several broken links: the one at which `exec` ends is the one to mend first.
row 'a malformed reference' 78 'reference PASSWORD: malformed reference `akv://kv1/s_1`' 'did you mean `s-1`?' \
    "$ca" PASSWORD=akv://kv1/s_1 :: :: true
absent=(--secret OTHER=akv://kv1/absent)
row 'no such secret, and COMMAND is for another machine' 66 "secret OTHER: \`absent\` | 1 more check failed" \
    'check the name' "$ca" :: "${absent[@]}" :: "$tmp/foreign"
row 'a vault refuses connections, another has no such secret' 66 "secret OTHER: \`absent\` | 1 more check failed" \
    'check the name' "$ca" :: --secret SECRET=akv://refusing/s1 "${absent[@]}" :: true
row 'no way to IMDS, and a certificate for another name' 69 'connection 127.0.0.99: connection refused | 1 more' \
    'is this container on Azure' "$ca" AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.99 :: --secret SECRET=akv://other/s1 :: true

while [ ${#running[@]} -gt 0 ]; do
    finish_one
done

# ---------------------------------------------------------------------------------------------------------------------
# What was found
# ---------------------------------------------------------------------------------------------------------------------

for ((number = 1; number <= rows; number++)); do
    # A row that broke off has failed.
    grep -qE '^(ok|FAILED) ' "$tmp/row.$number" || sed -i '1s/^/FAILED  /' "$tmp/row.$number"
    cat "$tmp/row.$number"
    [ -z "$only" ] || sed 's/^/    /' "$tmp/output.$number"
done >"$tmp/found"

{
    printf '%s\n' "$value" sentinel- "$(sed -n 's/^AZURE_CLIENT_SECRET=//p' "$tmp/azure/secret.env")"
    sed -n 's/^IDENTITY_HEADER=//p' "$tmp/azure/app-service.env"
} >"$tmp/sentinels"
if [ -z "$only" ]; then
    check "at least 30 set-ups were checked ($rows)" between 30 1000 "$rows" >>"$tmp/found"
    slowest=$(awk '/ms/ { if ($2 > most) most = $2 } END { print most + 0 }' "$tmp"/row.*)
    check "the slowest verdict takes 10 s at most ($slowest ms)" between 0 10000 "$slowest" >>"$tmp/found"
fi
check "no output holds a value, its length, a token, an assertion, a client secret, IDENTITY_HEADER or a password" \
    python3 "$ours/secrets.py" "$tmp/sentinels" "$length" "$tmp"/output.* -- "$tmp"/*/requests.jsonl >>"$tmp/found"
cat "$tmp/found"
total "$tmp/found"
