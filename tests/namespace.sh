#!/bin/bash
# Proves, on the release binary as it is and with its built-in addresses, what it does on a network like Azure's:
#
#   * how many requests secrets cost;
#   * that it gets through a deployment in which identity and access come late, and that SIGTERM ends the wait at once,
#     also as process 1;
#   * that a pod never gets its node's identity without having asked for it;
#   * that a pod's resolv.conf does not multiply its queries, and which name servers it bears with;
#   * what it reports when the identity endpoint cannot be reached, or when the certificate is not trusted.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/namespace.sh
#
# 169.254.169.254, login.microsoftonline.com and kv1.vault.azure.net are the stand-in for Azure, in network namespaces
# that live as long as the processes in them. Hosts file and resolv.conf are mounted over those of /etc for one process
# at a time, in a mount namespace of its own: not by `ip netns`, which would leave files in /etc/netns and /run. Needs
# root, for the namespaces, and the programs that are asked for below. What has to wait does so side by side; the whole
# takes a minute. Every check prints a sentence; the exit code is 0 if and only if all of them hold, 2 if they could
# not be made.

set -euo pipefail

# shellcheck source=tests/namespace/common.sh
source "$(dirname "$0")/namespace/common.sh"
command -v getent >/dev/null || cannot "there is no getent"
build_standin
ours=$repository/tests/namespace

# ---------------------------------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------------------------------

# stop SENTENCE [--child | --unread] WHEN COMMAND...: stops the command as tests/namespace/stop.py says. It must end at
# once, with the exit code for SIGTERM. Leaves its standard error in $output.
stop() {
    local sentence=$1 ms
    shift
    if output=$(python3 "$ours/stop.py" "$@" 2>&1); then
        read -r code ms <<<"$output"
    else
        code=none ms=0
    fi
    check "$sentence: SIGTERM ends it with 143 within 100 ms ($ms ms)" \
        equal "143 yes" "$code $(awk -v ms="$ms" 'BEGIN { print ms < 100 ? "yes" : "no: " ms }')"
}

# stopped SENTENCE LINE [--child] WHEN COMMAND...: as `stop`, and its last line must say that it waited for LINE, a
# regular expression.
stopped() {
    local line=$2
    stop "$1" "${@:3}"
    check "its last line says what it was waiting for, how long and how many attempts" \
        matches "^akv-init: error: stopped by SIGTERM after [0-9]+ s, while $line\$" "$(tail -n 1 <<<"$output")"
}

# ---------------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------------

# What goes to 192.0.2.0/24 (TEST-NET-1) vanishes without an answer: it comes back by the loopback device and is
# dropped there, since no interface has the address.
up='ip link set lo up && ip route add 192.0.2.0/24 dev lo'

# azure NAME [FLAG...]: starts a stand-in for Azure in a new network; its files are in $tmp/NAME, its pid is $!.
azure() {
    local dir=$tmp/$1 secrets=() number
    for number in {1..10}; do
        secrets+=(--secret "s$number=value $number")
    done
    mkdir "$dir"
    env -i PATH="$PATH" unshare --net -- sh -c "$up && ip address add 169.254.169.254/32 dev lo && exec \"\$@\"" sh \
        "$standin" --dir "$dir" --imds 169.254.169.254:80 --login 127.0.0.11:443 --vault 127.0.0.10:443 \
        --name login.microsoftonline.com --name kv1.vault.azure.net --name kv1.tools "${secrets[@]}" "${@:2}" \
        <"$tmp/stdin" >"$dir/stdout" 2>"$dir/stderr" 9>&- &
}

hosts hosts.none
# All that Azure's names lead to, a vault that refuses connections, and one that never answers.
hosts hosts '127.0.0.10 kv1.vault.azure.net' '127.0.0.11 login.microsoftonline.com' \
    '127.0.0.12 refusing.vault.azure.net' '192.0.2.1 silent.vault.azure.net'
: >"$tmp/resolv.none"

resolv resolv.silent 192.0.2.53

azure azure
azure=$!
until_it_says azure stdout '^ready$'

dns "$azure" dns 127.0.0.53 --local=/net/ --local=/tools/ --host-record=kv1.tools.svc.cluster.local,127.0.0.10 \
    --host-record=kv1.privatelink.vaultcore.azure.net,127.0.0.10 \
    --cname=kv1.vault.azure.net,kv1.privatelink.vaultcore.azure.net
# These know an A, and ask for the AAAA a server that fails, or one that never answers.
dns "$azure" failing 127.0.0.54 --host-record=kv1.vault.azure.net,127.0.0.10 --server=127.0.0.99
dns "$azure" dropping 127.0.0.55 --host-record=kv1.vault.azure.net,127.0.0.10 --server=192.0.2.53
nsenter --net="/proc/$azure/ns/net" timeout 300 python3 "$ours/servfail.py" 127.0.0.99 9>&- &
for name in dns failing dropping; do
    until_it_says "$name" log 'cleared cache'
done

# The binary under test in an environment of its own: the machine's may name other certificates.
akv=(env -i PATH=/usr/bin:/bin "SSL_CERT_FILE=$tmp/azure/ca.pem" "$binary")
late=(env -i PATH=/usr/bin:/bin "SSL_CERT_FILE=$tmp/race/ca.pem" "$binary")
secret=(--secret SECRET=akv://kv1/s1)
ten=()
for number in {1..10}; do
    ten+=(--secret "S$number=akv://kv1/s$number")
done
ten_values=$(printf 'value %d\n' {1..10})

count() { # how many requests IMDS, Entra and the vault have had
    python3 -c '
import collections, json, sys
with open(sys.argv[1]) as file:
    doors = collections.Counter(json.loads(line)["endpoint"] for line in file)
print(doors["imds"], doors["login"], doors["vault"])' "$tmp/azure/requests.jsonl"
}

# cost COMMAND...: as `attempt`, and leaves in $cost how many requests it made to IMDS, Entra and the vault.
cost() {
    local before after
    read -ra before <<<"$(count)"
    attempt "$@"
    read -ra after <<<"$(count)"
    cost="$((after[0] - before[0])) $((after[1] - before[1])) $((after[2] - before[2]))"
}

# ---------------------------------------------------------------------------------------------------------------------
# The parts: functions that print their checks
# ---------------------------------------------------------------------------------------------------------------------

part_requests() {
    echo "# What secrets cost"
    enter "$azure" hosts resolv.none

    cost "${here[@]}" "${akv[@]}" exec "${ten[@]}" -- printenv S{1..10}
    check "ten secrets arrive" equal "0 $ten_values" "$code $output"
    # All ten answers were secrets, so none of them was a 401.
    check "they cost 1 token request and 10 vault requests, and no 401" equal "1 0 10" "$cost"
    cost "${here[@]}" env -i "${akv[@]:2:2}" AGAIN=akv://kv1/s1 'OTHER=@Microsoft.KeyVault(VaultName=kv1;SecretName=s1)' \
        "$binary" exec "${ten[@]}" --secret URL=https://kv1.vault.azure.net/secrets/s1 \
        --secret 'TRIMMED=akv://KV1.vault.azure.net:443/s1?trim' -- printenv S{1..10} AGAIN OTHER URL TRIMMED
    check "more references to one of them, however written, get its value" \
        equal "0 $ten_values"$'\nvalue 1\nvalue 1\nvalue 1\nvalue 1' "$code $output"
    check "and cost no more requests" equal "1 0 10" "$cost"
    cost "${here[@]}" "${akv[@]}" exec -- printenv PATH
    check "no reference, no request" equal "0 /usr/bin:/bin 0 0 0" "$code $output $cost"
}

part_identity() {
    echo "# The wrong identity: in a pod, where IMDS would hand out the node's"
    enter "$azure" hosts resolv.none
    local label pod=(env -i "${akv[@]:2:2}" KUBERNETES_SERVICE_HOST=10.96.0.1 KUBERNETES_SERVICE_PORT=443)
    local get=("$binary" exec "${secret[@]}")

    cost "${here[@]}" "${pod[@]}" "${get[@]}" --identity managed -- printenv SECRET
    check "asked for by name, it is there to be had and the vault accepts it" equal "0 value 1 1 0 1" "$code $output $cost"
    cost "${here[@]}" "${pod[@]}" "${get[@]}" -- printenv SECRET
    check "not asked for, it is 78" equal 78 "$code"
    check "the hint names the label, the annotation and the option" \
        has "$(hint)" azure.workload.identity/use azure.workload.identity/client-id "--identity managed"
    check "and there was no request at all" equal "0 0 0" "$cost"
    mapfile -t label <"$tmp/azure/workload.env"
    cost "${here[@]}" "${pod[@]}" "${label[@]}" "${get[@]}" -- printenv SECRET
    check "with the variables that the label brings, the secret arrives by way of Entra alone" \
        equal "0 value 1 0 1 1" "$code $output $cost"
    check "Entra saw the federated token, and the vault the access token of that application, not the node's" \
        python3 "$ours/federated.py" "$tmp/azure"
}

part_certificate() {
    echo "# A certificate for the vault's name, from an unknown CA"
    enter "$azure" hosts resolv.none
    cost "${here[@]}" env -i PATH=/usr/bin:/bin "$binary" exec "${secret[@]}" -- printenv SECRET
    check "without SSL_CERT_FILE it is 76" equal 76 "$code"
    check "the hint names SSL_CERT_FILE and --ca-file" has "$(hint)" SSL_CERT_FILE --ca-file
    check "and no access token went there" equal 0 "${cost##* }"
}

part_names() {
    echo "# Names as in a pod: three search domains and ndots:5"
    enter "$azure" hosts.none resolv.dns
    attempt "${here[@]}" getent --no-addrconfig ahosts kv1.vault.azure.net
    check "a plain look-up finds the vault and costs eight queries" equal "0 8" "$code $(queries dns | wc -l)"
    attempt "${here[@]}" "${akv[@]}" exec "${ten[@]}" -- printenv S{1..10}
    check "ten secrets arrive" equal "0 $ten_values" "$code $output"
    check "for one query, an A for the name as it is" equal "[A] kv1.vault.azure.net" "$(queries dns | tail -n +9)"
    local before
    before=$(queries dns | wc -l)
    enter "$azure" hosts resolv.dns
    attempt "${here[@]}" "${akv[@]}" exec "${secret[@]}" -- printenv SECRET
    check "what the hosts file knows is not asked" equal "0 value 1 $before" "$code $output $(queries dns | wc -l)"
    enter "$azure" hosts.none resolv.dns
    attempt "${here[@]}" "${akv[@]}" exec --allow-vault kv1.tools --secret SECRET=akv://kv1.tools/s1 -- printenv SECRET
    check "a name that only the search list completes is found, too" equal "0 value 1" "$code $output"

    for name in failing dropping; do
        enter "$azure" hosts.none "resolv.$name"
        attempt "${here[@]}" "${akv[@]}" exec "${secret[@]}" -- printenv SECRET
        check "a name server that is $name for AAAA does not spoil the A" equal "0 value 1" "$code $output"
        check "nor does it cost time ($took ms)" between 0 1500 "$took"
    done
    attempt "${here[@]}" timeout 2 getent --no-addrconfig ahosts kv1.vault.azure.net
    check "that one would: a plain look-up is still waiting after 2 s" equal 124 "$code"
    enter "$azure" hosts.none resolv.failing
    attempt "${here[@]}" getent --no-addrconfig ahosts kv1.vault.azure.net
    check "and the other one really fails" has "$(cat "$tmp/failing/log")" "reply error is SERVFAIL"
}

part_no_such_name() {
    enter "$azure" hosts.none resolv.dns
    attempt "${here[@]}" "${akv[@]}" exec --secret 'SECRET=akv://no-such-vault/s1?optional' -- printenv SECRET
    check "a name that does not exist is asked for again for 10 s, not until the deadline ($took ms)" between 7000 14000 "$took"
    check "then it is 69, although the secret is optional" equal 69 "$code"
    check "the hint names the vault's name and the private DNS zone" \
        has "$(hint)" "vault's name" privatelink.vaultcore.azure.net no-such-vault.vault.azure.net
}

part_no_name_server() {
    enter "$azure" hosts.none resolv.silent
    attempt "${here[@]}" "${akv[@]}" exec --timeout 5 "${secret[@]}" -- printenv SECRET
    check "a name server that never answers is waited for until the deadline of 5 s ($took ms)" between 4500 6000 "$took"
    check "then it is 69" equal 69 "$code"
    check "the error names the vault that was not reached" \
        has "$(grep '^akv-init: error: ' <<<"$output")" kv1.vault.azure.net
    check "the hint names the cluster's DNS" has "$(hint)" DNS
    stopped "while a name server does not answer" \
        '.*kv1\.vault\.azure\.net.* \(1 attempt.*\)' "" "${here[@]}" "${akv[@]}" exec "${secret[@]}" -- true
}

part_silent_vault() {
    enter "$azure" hosts resolv.none
    stopped "while a vault does not answer to a connection" '.*silent\.vault\.azure\.net.* \(1 attempt.*\)' "" \
        "${here[@]}" "${akv[@]}" exec --secret SECRET=akv://silent/s1 -- true
    attempt "${here[@]}" "${akv[@]}" exec --timeout 6 --secret SECRET=akv://silent/s1 -- true
    check "a vault that never answers is waited for until the deadline of 6 s ($took ms)" between 5500 7000 "$took"
    check "then it is 69" equal 69 "$code"
    check "the hint names what may be in the way" has "$(hint)" silent.vault.azure.net egress route "private endpoint" HTTPS_PROXY
}

part_first_process() {
    echo "# As process 1 of a PID namespace"
    enter "$azure" hosts resolv.none
    # SIGTERM's default action does not end such a process: only a handler can.
    stopped "while a vault refuses connections" \
        'reading secret `s1` from refusing\.vault\.azure\.net for SECRET \([0-9]+ (attempt|attempts), last: connection refused\)' \
        --child 'attempt [0-9]+: connection refused; next' \
        unshare --pid --fork --kill-child "${here[@]}" "${akv[@]}" exec --verbose --secret SECRET=akv://refusing/s1 -- true
    stop "with a standard error that is full and not read" --unread "" \
        "${here[@]}" "${akv[@]}" exec --secret SECRET=akv://refusing/s1 -- true
    attempt unshare --pid --fork --kill-child "${here[@]}" "${akv[@]}" exec "${secret[@]}" -- sh -c 'echo $$ $SECRET'
    check "COMMAND is process 1 as well" equal "0 1 value 1" "$code $output"
}

part_no_identity_endpoint() {
    echo "# No way to the identity endpoint"
    local kind route
    for kind in no drop reject; do
        case $kind in
            no) route=true what="no route to it" ;;
            drop) route='ip route add 169.254.169.254/32 dev lo' what="packets to it vanish" ;;
            reject) route='ip route add prohibit 169.254.169.254/32' what="packets to it are rejected" ;;
        esac
        (
            attempt unshare --net -- sh -c "$up && $route && exec \"\$@\"" sh "${akv[@]}" exec --timeout 5 "${secret[@]}" -- true
            check "$what: tried until the deadline of 5 s ($took ms)" between 4500 6000 "$took"
            check "then it is 69" equal 69 "$code"
            check "the error names the endpoint" \
                has "$output" "akv-init: error: getting an access token from IMDS (http://169.254.169.254, "
            check "the hint names a network policy and init containers" has "$(hint)" "network policy" "Init containers"
        ) >"$tmp/no_identity_endpoint.$kind" &
    done
    wait
    cat "$tmp"/no_identity_endpoint.*
    stopped "while packets to it vanish" 'getting an access token from IMDS .* \(1 attempt\)' "" \
        unshare --net -- sh -c "$up && ip route add 169.254.169.254/32 dev lo && exec \"\$@\"" sh \
        "${akv[@]}" exec "${secret[@]}" -- true
}

part_race_patient() {
    echo "# A race as a deployment makes it: no IMDS for 10 s, 404, 429 and 500 for 10 s, 403 by RBAC for 20 s"
    enter "$racing" hosts resolv.none
    attempt "${here[@]}" "${late[@]}" exec --wait-for-access 2m "${secret[@]}" -- printenv SECRET
    check "with --wait-for-access 2m it gets there" equal "0 value 1" "$code $(tail -n 1 <<<"$output")"
    check "when access is granted, and at most a pause of 8 s later ($took ms)" between 38000 50000 "$took"
    check "it says what it waits for, once that it got there, and nothing else" \
        matches '^akv-init: still getting an access token from IMDS [^|]*\|(akv-init: still [^|]*\|)+akv-init: got every secret after [0-9]+ s\|value 1\|$' \
        "$(tr '\n' '|' <<<"$output")"
}

part_race_denied() {
    enter "$racing" hosts resolv.none
    attempt "${here[@]}" "${late[@]}" exec "${secret[@]}" -- printenv SECRET
    check "without --wait-for-access it is 77" equal 77 "$code"
    check "at the first 403, which comes as soon as there is a token ($took ms)" between 18000 30000 "$took"
    check "the error names the inner code, the caller, and both sides' request ids" \
        has "$(grep '^akv-init: error: ' <<<"$output")" "(ForbiddenByRbac)" "; caller appid=" "; request id " "; client request id "
    check "the hint names the role, the scope and --wait-for-access" \
        has "$(hint)" '"Key Vault Secrets User"' /vaults/kv1/secrets/s1 "--wait-for-access 10m"
}

part_race_stopped() {
    enter "$racing" hosts resolv.none
    local token='getting an access token from IMDS \(http://169\.254\.169\.254, managed identity\)'
    local wait=("${here[@]}" "${late[@]}" exec --verbose --wait-for-access 2m "${secret[@]}" -- true)
    stopped "while IMDS refuses connections" "$token \([0-9]+ (attempt|attempts), last: connection refused\)" \
        'attempt [0-9]+: connection refused; next' "${wait[@]}"
    stopped "while IMDS answers 404, 429 and 500" "$token \([0-9]+ (attempt|attempts), last: (404|429|500) .*\)" \
        'attempt [0-9]+: (404|429|500) .*; next' "${wait[@]}"
    stopped "while the vault says 403" \
        'reading secret `s1` from kv1\.vault\.azure\.net for SECRET \([0-9]+ (attempt|attempts), last: 403 Forbidden \(ForbiddenByRbac\).*\)' \
        'attempt [0-9]+: 403 .*; next' "${wait[@]}"
}

# ---------------------------------------------------------------------------------------------------------------------

# start PART...: side by side; each writes to a file of its own.
start() {
    local part
    for part; do
        "part_$part" >"$tmp/part.$part" 2>&1 &
        started[$part]=$!
    done
}

# finish PART...: prints what they found. A part that broke off has failed.
finish() {
    local part
    for part; do
        wait "${started[$part]}" || echo "FAILED  \"$part\" runs to its end" >>"$tmp/part.$part"
        tee -a "$tmp/found" <"$tmp/part.$part"
    done
}

declare -A started
race=(race_patient race_denied race_stopped)
waiting=(no_such_name no_name_server silent_vault first_process no_identity_endpoint)
azure race --race 10,10,20
racing=$!
until_it_says race stdout '^ready$'
start "${race[@]}"
# One after the other, and before any others: they count requests and queries.
for part in requests identity certificate names; do
    start "$part"
    finish "$part"
done
start "${waiting[@]}"
finish "${waiting[@]}" "${race[@]}"

total "$tmp/found"
