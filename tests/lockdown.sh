#!/bin/bash
# Proves, on the release binary as it is and with its built-in addresses, that it works on a network that is locked
# down as large companies do it, and that it says what is missing where it cannot work:
#
#   * no way out but a CONNECT proxy, with a NO_PROXY of suffixes and ranges;
#   * certificates of a CA that only the company knows, which breaks TLS open;
#   * a name server with ndots:5 and three search domains, which knows the proxy, the private DNS zone of one vault, and
#     nothing else;
#   * and the same vault as public DNS leads to it, where its private endpoint is the only open door.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/lockdown.sh
#
# 169.254.169.254, App Service's endpoint, the proxy, Entra behind it and the vault are the stand-in for Azure, in
# network namespaces that live as long as the processes in them. Needs root, cargo, dnsmasq and what
# tests/namespace/common.sh asks for. Every check prints a sentence; the exit code is 0 if and only if all of them hold,
# 2 if they could not be made.

set -euo pipefail
# shellcheck source=tests/namespace/common.sh
source "$(dirname "$0")/namespace/common.sh"
build_standin

# network NAME VAULT [FLAG...]: starts a stand-in in a new network, with the vault at that address; its files are in
# $tmp/NAME, its pid is $!. Nothing leads to Entra but the proxy, which does not care for names: the stand-in's Entra
# is at an address that no name server gives away.
network() {
    local dir=$tmp/$1 address up='ip link set lo up'
    mkdir "$dir"
    for address in 169.254.169.254 169.254.130.2 10.0.0.8 "$2"; do
        up+=" && ip address add $address/32 dev lo"
    done
    env -i PATH="$PATH" unshare --net -- sh -c "$up && exec \"\$@\"" sh \
        "$standin" --dir "$dir" --imds 169.254.169.254:80 --platform 169.254.130.2:8081 --proxy 10.0.0.8:3128 \
        --login 127.0.0.11:443 --vault "$2:443" --name login.microsoftonline.com --name kv1.vault.azure.net \
        --secret s1=value "${@:3}" <"$tmp/stdin" >"$dir/stdout" 2>"$dir/stderr" 9>&- &
}

# Reserved for documentation (RFC 5737): the vault's public address.
public_address=198.51.100.7

network locked 10.1.2.3
locked=$!
network open "$public_address" --vault-says private-endpoint
open=$!
until_it_says locked stdout '^ready$'
until_it_says open stdout '^ready$'

# --local=/#/: whatever is not said here does not exist.
proxy=(--local=/#/ "--host-record=proxy.corp.example,10.0.0.8")
dns "$locked" zone 127.0.0.53 "${proxy[@]}" --cname=kv1.vault.azure.net,kv1.privatelink.vaultcore.azure.net \
    --host-record=kv1.privatelink.vaultcore.azure.net,10.1.2.3
dns "$locked" bare 127.0.0.54 "${proxy[@]}"
dns "$open" public 127.0.0.53 "${proxy[@]}" --cname=kv1.vault.azure.net,kv1.privatelink.vaultcore.azure.net \
    --cname=kv1.privatelink.vaultcore.azure.net,data-prod-weu.vaultcore.azure.net \
    --host-record="data-prod-weu.vaultcore.azure.net,$public_address"
for name in zone bare public; do
    until_it_says "$name" log 'cleared cache'
done
hosts hosts

# The binary under test in an environment of its own: the machine's may name other certificates and proxies. The
# variables of other schemes are there to be ignored, and NO_PROXY does not name the identity endpoints: that they are
# not for a proxy must be known without.
corporate=(PATH=/usr/bin:/bin HTTPS_PROXY=http://proxy.corp.example:3128 HTTP_PROXY=http://proxy.corp.example:3128
    http_proxy=http://proxy.corp.example:3128 ALL_PROXY=http://proxy.corp.example:3128)
ca=SSL_CERT_FILE=$tmp/locked/ca.pem
# The vault by a suffix; the ranges are those of a cluster.
direct=NO_PROXY=localhost,127.0.0.0/8,10.0.0.0/8,.cluster.local,.vault.azure.net
# 10.0.0.0/8 has the vault's address, but a range is not compared with the addresses of names, as in Go.
through=NO_PROXY=localhost,127.0.0.0/8,10.0.0.0/8,.cluster.local
get=("$binary" exec --secret SECRET=akv://kv1/s1 -- printenv SECRET)
# AZURE_AUTHORITY_HOST is what AKS sets, too; here the built-in one is to be tested.
mapfile -t workload < <(grep -v '^AZURE_AUTHORITY_HOST=' "$tmp/locked/workload.env")
mapfile -t app_service <"$tmp/locked/app-service.env"
vault=kv1.vault.azure.net:443
entra=login.microsoftonline.com:443

requests() { # requests NAME: how many that stand-in has had
    wc -l <"$tmp/$1/requests.jsonl"
}

# seen COMMAND...: as `attempt`, and leaves in $doors the doors that were asked meanwhile, in order of their names, and
# in $connects what the proxy was asked for.
seen() {
    local before
    before=$(requests locked)
    attempt "${here[@]}" env -i "$@"
    doors=$(record doors "$before")
    connects=$(record proxy "$before")
}

record() { # record doors|proxy LINES: of the requests after the first LINES
    python3 -c '
import json, sys
with open(sys.argv[1]) as file:
    requests = [json.loads(line) for line in file][int(sys.argv[3]):]
if sys.argv[2] == "doors":
    found = {request["endpoint"] for request in requests}
else:
    found = {request["method"] + " " + request["target"] for request in requests if request["endpoint"] == "proxy"}
print(*sorted(found))' "$tmp/locked/requests.jsonl" "$1" "$2"
}

# ---------------------------------------------------------------------------------------------------------------------
# The parts: functions that print their checks
# ---------------------------------------------------------------------------------------------------------------------

part_private_zone() {
    echo "# The vault by its private DNS zone, past the proxy; Entra through it"
    enter "$locked" hosts resolv.zone
    seen "${corporate[@]}" "$ca" "$direct" "${workload[@]}" "${get[@]}"
    check "with a workload identity the secret arrives" equal "0 value" "$code $output"
    check "the proxy leads to Entra, and to nothing else" equal "CONNECT $entra" "$connects"
    check "a token of Entra, and no other identity endpoint, was asked for" equal "login proxy vault" "$doors"
    check "a name that is the proxy's to find is not looked up" \
        equal "kv1.vault.azure.net proxy.corp.example" "$(queries zone | awk '{ print $2 }' | sort -u | xargs)"

    seen "${corporate[@]}" "$ca" "$direct" "${get[@]}"
    check "with IMDS the secret arrives" equal "0 value" "$code $output"
    check "and the proxy is not asked for anything" equal "imds vault; " "$doors; $connects"
    seen "${corporate[@]}" "$ca" "$direct" "${app_service[@]}" "${get[@]}"
    check "with App Service's endpoint the secret arrives" equal "0 value" "$code $output"
    check "and the proxy is not asked for anything" equal "platform vault; " "$doors; $connects"

    # What the checks above rest on.
    seen PATH=/usr/bin:/bin "$ca" "${workload[@]}" "$binary" exec --timeout 2 "${get[@]:2}"
    check "without the proxy there is no way to Entra: 69" equal 69 "$code"
    check "the error names it" has "$(grep '^akv-init: error: ' <<<"$output")" login.microsoftonline.com
}

part_proxy_only() {
    echo "# The vault through the proxy, too: the name server does not know it"
    enter "$locked" hosts resolv.bare
    seen "${corporate[@]}" "$ca" "$through" "${get[@]}"
    check "with IMDS the secret arrives" equal "0 value" "$code $output"
    check "the proxy leads to the vault, and IMDS is asked without it" equal "imds proxy vault; CONNECT $vault" "$doors; $connects"
    seen "${corporate[@]}" "$ca" "$through" "${app_service[@]}" "${get[@]}"
    check "with App Service's endpoint the secret arrives" equal "0 value" "$code $output"
    check "the proxy leads to the vault, and the endpoint is asked without it" \
        equal "platform proxy vault; CONNECT $vault" "$doors; $connects"
    seen "${corporate[@]}" "$ca" "$through" "${workload[@]}" "${get[@]}"
    check "with a workload identity the secret arrives" equal "0 value" "$code $output"
    check "the proxy leads to both" equal "login proxy vault; CONNECT $vault CONNECT $entra" "$doors; $connects"
    seen "${corporate[@]}" "$ca" "$through" "$binary" token
    check "\`token\` gets one from IMDS, and does not ask the proxy" equal "0 imds; " "$code $doors; $connects"
    check "and prints it" matches '^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$' "$output"
    # What the checks above rest on.
    seen PATH=/usr/bin:/bin "$ca" "$binary" exec --timeout 2 "${get[@]:2}"
    check "without the proxy there is no way to the vault: 69" equal 69 "$code"

    enter "$locked" hosts resolv.zone
    seen "${corporate[@]}" "$ca" "$through" "${get[@]}"
    check "a range that a name's address lies in does not take the name past the proxy" \
        equal "0 value; CONNECT $vault" "$code $output; $connects"
    seen "${corporate[@]}" "$ca" "$through" "$binary" exec --allow-vault 10.1.2.3 --vault-resource https://vault.azure.net \
        --secret SECRET=akv://10.1.2.3/s1 -- printenv SECRET
    check "a range that an address lies in does" equal "0 value; " "$code $output; $connects"
}

part_certificates() {
    echo "# The company's CA is not named"
    enter "$locked" hosts resolv.zone
    seen "${corporate[@]}" "$direct" "${get[@]}"
    check "at the vault: 76" equal 76 "$code"
    check "the hint names SSL_CERT_FILE" has "$(hint)" SSL_CERT_FILE
    # A door sees a request only when TLS is done.
    check "and no access token went there" equal imds "$doors"
    seen "${corporate[@]}" "$through" "${get[@]}"
    check "at the vault behind the proxy: 76" equal 76 "$code"
    check "the hint names SSL_CERT_FILE" has "$(hint)" SSL_CERT_FILE
    check "and no access token went there" equal "imds proxy" "$doors"
    seen "${corporate[@]}" "$direct" "${workload[@]}" "${get[@]}"
    check "at Entra behind the proxy: 76" equal 76 "$code"
    check "the hint names SSL_CERT_FILE" has "$(hint)" SSL_CERT_FILE
    check "and no assertion went there" equal proxy "$doors"
}

part_public_dns() {
    echo "# The private DNS zone is not linked to the network: public DNS leads to the vault's public address"
    enter "$open" hosts resolv.public
    attempt "${here[@]}" env -i "${corporate[@]}" "SSL_CERT_FILE=$tmp/open/ca.pem" "$direct" "${get[@]}"
    check "the vault refuses: 77" equal 77 "$code"
    check "the error names the inner code" has "$(grep '^akv-init: error: ' <<<"$output")" "(ForbiddenByConnection)"
    check "the hint names the private DNS zone" has "$(hint)" "private DNS zone privatelink.vaultcore.azure.net"
}

part_record() {
    echo "# The proxy's record of all this"
    # It would have recorded a request in any form.
    check "nothing but the vault and Entra was ever asked of it: no identity endpoint" \
        equal "CONNECT $vault CONNECT $entra" "$(record proxy 0)"
}

for part in private_zone proxy_only certificates public_dns record; do
    # As a job, since it then ends at what it cannot do, and the others go on.
    "part_$part" >"$tmp/part" 2>&1 &
    wait $! || echo "FAILED  \"$part\" runs to its end" >>"$tmp/part"
    tee -a "$tmp/found" <"$tmp/part"
done
total "$tmp/found"
