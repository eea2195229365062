#!/bin/bash
# Tests the release binary as its users run it: in containers, with its built-in addresses.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/container.sh
#
# It builds the two images that this repository tells people to build (docker/, examples/mssql/), the latter on a
# stand-in for Microsoft's image, and runs them by the settings of examples/mssql/compose.yaml and kubernetes.yaml. They
# share a network namespace where 169.254.169.254, login.microsoftonline.com and *.vault.azure.net are the stand-in for
# Azure.
#
# Needs root, podman with runc, and the programs that tests/container/common.sh asks for. podman's storage, state and
# network are those of a mount namespace of its own, so that the machine's containers are neither seen nor touched.
# Every check prints a sentence; the exit code is 0 if and only if all of them hold.

set -euo pipefail
# shellcheck source=tests/container/common.sh
source "$(dirname "$0")/container/common.sh"
example=$repository/examples/mssql

login() { # login PASSWORD: at the database that listens in the containers' network
    env -i SQLCMDPASSWORD="$1" nsenter --net="$net" "$tmp/image/sqlcmd" -S localhost -U sa -C
}

listening() {
    # sqlcmd exits with 2 when no server listens.
    local code=0
    login nobody || code=$?
    [ "$code" != 2 ]
}

# Upper and lower case, digits and a symbol, and in no other file of this machine.
password="First-$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')"
rotated="Second-$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')"
weak="w-$(od -An -N2 -tu2 /dev/urandom | tr -d ' ')"
# Two managed identities, so that one has to be named.
client=11111111-2222-4333-8444-555555555555
other_client=99999999-8888-4777-8666-555555555555

start_azure --identity "$client" --identity "$other_client" \
    --secret "sql-sa-password=$password" --secret "sql-sa-rotated=$rotated" --secret "sql-sa-weak=$weak"

# ---------------------------------------------------------------------------------------------------------------------
# The images
# ---------------------------------------------------------------------------------------------------------------------

mkdir "$tmp/image"
install -m 0755 "$binary" "$tmp/image/akv-init"
gcc -O1 -Wall -Wextra -Werror -static -o "$tmp/image/tiny" "$ours/tiny.c"
gcc -O1 -Wall -Wextra -Werror -o "$tmp/image/sqlcmd" "$ours/sqlcmd.c"

rootfs=$tmp/image/rootfs
mkdir -p "$rootfs"/{bin,etc,opt/mssql/bin,opt/mssql-tools18/bin,proc,sys,dev}
gcc -O1 -Wall -Wextra -Werror -o "$rootfs/opt/mssql/bin/sqlservr" "$ours/sqlservr.c"
setcap cap_net_bind_service+ep "$rootfs/opt/mssql/bin/sqlservr"
install -m 0755 "$ours/launch_sqlservr.sh" "$rootfs/opt/mssql/bin/"
install -m 0755 "$tmp/image/sqlcmd" "$rootfs/opt/mssql-tools18/bin/"
install -m 0755 /bin/bash "$rootfs/bin/bash"
for library in $(ldd /bin/bash "$tmp/image/sqlcmd" | grep -o '/[^ )]*' | grep '\.so' | sort -u); do
    install -D -m 0755 "$library" "$rootfs/$library"
done
install -d -m 1777 "$rootfs/tmp"
install -d -m 0770 -o 10001 -g 0 "$rootfs/var/opt/mssql"
printf 'root:x:0:0::/:/bin/bash\nmssql:x:10001:0::/:/bin/bash\n' >"$rootfs/etc/passwd"
printf 'root:x:0:\n' >"$rootfs/etc/group"
tar --xattrs --xattrs-include='*' -C "$rootfs" -cf "$tmp/image/rootfs.tar" .

build "$repository/docker/Dockerfile.binary" "$tmp/image" akv-init
build "$ours/Dockerfile.tiny" "$tmp/image" tiny
build "$ours/Dockerfile.mssql" "$tmp/image" mssql:2022-latest
build "$example/Dockerfile" "$example" mssql-akv:2022 \
    --build-arg AKV_INIT_IMAGE=localhost/akv-init --build-arg MSSQL_IMAGE=localhost/mssql

echo "# The image from docker/"

# The stage that compiles wants an image from a registry. What can be wrong in it without one is what it copies.
mkdir "$tmp/source"
while read -r -a words; do
    for word in "${words[@]:1:${#words[@]}-2}"; do
        cp -r "$repository/$word" "$tmp/source/"
    done
done < <(sed '/^FROM scratch/,$d' "$repository/docker/Dockerfile" | grep ^COPY)
check "what docker/Dockerfile copies is enough to compile" \
    env CARGO_TARGET_DIR="$target" cargo check --quiet --locked --bin akv-init --manifest-path "$tmp/source/Cargo.toml"

image=$(podman image mount localhost/akv-init)
check "it holds one file, /akv-init" equal ./akv-init "$(cd "$image" && find . -mindepth 1)"
check "that file is the binary under test" cmp "$binary" "$image/akv-init"
check "it is executable for everybody and writable for root only" equal "755 0:0" \
    "$(stat -c '%a %u:%g' "$image/akv-init")"

attempt podman run --rm --network none --read-only --cap-drop all --security-opt no-new-privileges \
    localhost/akv-init --version
check "it runs with nothing around it: --version" equal "0 $(env -i "$binary" --version)" "$code $output"

# Everything that a container can be denied, and 8 MiB.
frugal=(--rm --network "ns:$net" --read-only --cap-drop all --security-opt no-new-privileges
    --memory 8m --memory-swap 8m --volume "$tmp/azure/ca.pem:/ca.pem:ro"
    --env SSL_CERT_FILE=/ca.pem --env "AKV_INIT_CLIENT_ID=$client" --env SECRET=akv://kv1/sql-sa-password)
attempt podman run "${frugal[@]}" localhost/tiny /tiny SECRET
check "with 8 MiB of memory it fetches a secret as 65532:65532 and becomes the program as process 1" \
    equal "0 pid 1 uid 65532 gid 65532 SECRET=$password" "$code $output"
check "that cost one token request and one secret request" equal "1 1" "$(requests imds) $(requests vault)"
attempt podman run "${frugal[@]}" --entrypoint /tiny localhost/tiny SECRET 16
check "the 8 MiB are really a limit: a program that writes to 16 MiB is killed in them" equal 137 "$code"

echo "# SQL Server by examples/mssql/compose.yaml"

AKV_INIT_CLIENT_ID=$client "$python" "$ours/manifests.py" run "$example/compose.yaml" \
    --ca "$tmp/azure/ca.pem" >"$tmp/compose.args"
"$python" "$ours/manifests.py" health "$example/compose.yaml" >"$tmp/compose.health"
mapfile -t compose <"$tmp/compose.args"
mapfile -t health <"$tmp/compose.health"

# sql VOLUME [OPTION...] [-- COMMAND...]: runs the example's image on that volume; later options beat the file's, and
# the file's options that match $without are left out.
without='^$'
sql() {
    local volume=$1 options=() setting
    shift
    for setting in "${compose[@]/#--volume=data:/--volume=$volume:}"; do
        [[ $setting =~ $without ]] || options+=("$setting")
    done
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    podman run --network "ns:$net" "${options[@]}" localhost/mssql-akv:2022 "${@:2}"
}

check "the image keeps the user of the base image, and its CMD is the server itself" \
    equal "mssql [/akv-init exec --] [/opt/mssql/bin/sqlservr]" \
    "$(podman image inspect --format '{{.Config.User}} {{.Config.Entrypoint}} {{.Config.Cmd}}' mssql-akv:2022)"

attempt podman run --rm --network none --env ACCEPT_EULA=Y --env MSSQL_SA_PASSWORD=akv://prod-kv/sql-sa-password \
    localhost/mssql:2022-latest
check "without akv-init the reference is no password" has "$code $output" "1 ERROR" "password policy"

attempt sql data --name sql --detach
check "the container starts" went_well
check "the database comes up" until_true listening
check "the secret is the sa password" login "$password"
check "another password is not" has "$(login "$rotated" 2>&1 || true)" "Login failed"
check "one process is left, and it is the server as process 1" equal "1 /opt/mssql/bin/sqlservr" \
    "$(podman top sql pid args | tail -n +2 | sed 's/  */ /; s/ *$//')"
check "it runs as user 10001" equal 10001 "$(status sql Uid)"
check "its root file system is read-only" \
    has "$(podman exec sql /bin/bash -c ': >/opt/mssql/test' 2>&1 || true)" "Read-only file system"
attempt cat "/proc/$(pid sql)/environ"
check "its environment holds the secret" has "$output" "MSSQL_SA_PASSWORD=$password"
check "its environment holds nothing of akv-init's" has_not "$output" AKV_INIT_ akv://
attempt podman inspect sql localhost/mssql-akv:2022
check "podman inspect shows the reference" has "$output" "MSSQL_SA_PASSWORD=akv://prod-kv/sql-sa-password"
check "podman inspect does not show the secret" has_not "$output" "$password"
check "the secret is nowhere in podman's storage and state" equal "" \
    "$(grep -rlF -- "$password" "$tmp/storage" /run || true)"
check "the log is the server's alone" equal "sqlservr: the volume is new; the sa password is set
sqlservr: SQL Server is now ready for client connections" "$(podman logs sql 2>&1)"
check "podman exec sees the reference, not the secret" equal akv://prod-kv/sql-sa-password \
    "$(podman exec sql /bin/bash -c 'echo "$MSSQL_SA_PASSWORD"')"
check "the health check of compose.yaml passes" podman exec sql "${health[@]}"

# The way to log in from inside that docs/getting-started.md has; the line there is the line that is run.
login_line=()
VAULT=prod-kv eval "login_line=($(sed -n 's/^kubectl exec mssql-0 -- //p' "$repository/docs/getting-started.md"))"
check "the login by kubectl exec works" equal "login succeeded" "$(podman exec sql "${login_line[@]}" 2>&1)"

attempt podman stop --time 30 sql
check "podman stop reaches it: it is gone within 5 s" at_most 5000 "$took"
check "its exit code is 0" equal "exited 0" "$(exit_code sql)"
check "it has shut down cleanly" test -e "$(volume data)/data/clean-shutdown"
check "the health check fails now" equal no "$(podman exec sql "${health[@]}" >/dev/null 2>&1 && echo yes || echo no)"

attempt podman start sql
check "it starts again on its volume" until_true listening
check "the same password is good" login "$password"
check "it found its volume shut down cleanly" has "$(podman logs sql 2>&1)" "it was shut down cleanly"
attempt podman stop --time 30 sql
check "it stops cleanly again" equal "exited 0" "$(exit_code sql)"
remove sql

attempt sql data --name sql --detach --env MSSQL_SA_PASSWORD=akv://prod-kv/sql-sa-rotated
check "with another secret it starts on the old volume" until_true listening
check "the old password still counts" login "$password"
check "the new one does not, as README.md says of rotation" has "$(login "$rotated" 2>&1 || true)" "Login failed"
remove sql

attempt sql weak --rm --env MSSQL_SA_PASSWORD=akv://prod-kv/sql-sa-weak
check "the server's own exit code and message come through: a weak password" \
    has "$code $output" "1 ERROR" "too short"
check "no log contains that password" has_not "$output" "$weak"

attempt sql missing --rm --env MSSQL_SA_PASSWORD=akv://prod-kv/no-such-secret
check "a secret that is not there: 66, and its name" has "$code $output" "66 akv-init: error: " "no-such-secret"
check "then the server is not started at all" equal "" "$(ls -A "$(volume missing)")"

token_requests=$(requests imds)
attempt sql fetching --name sql --detach --env MSSQL_SA_PASSWORD=akv://no-such-vault/sql-sa-password
more_token_requests() { [ "$(requests imds)" -gt "$token_requests" ]; }
check "while the vault refuses connections it has its token" until_true more_token_requests
sleep 0.5
attempt podman stop --time 30 sql
check "podman stop while it is fetching, as process 1: gone within 2 s" at_most 2000 "$took"
check "its exit code is 143" equal "exited 143" "$(exit_code sql)"
check "it says what it was waiting for" has "$(podman logs sql 2>&1)" \
    "akv-init: error: stopped by SIGTERM" no-such-vault.vault.azure.net attempt
remove sql

attempt sql script --name sql --detach -- /opt/mssql/bin/launch_sqlservr.sh /opt/mssql/bin/sqlservr
check "through launch_sqlservr.sh the server comes up" until_true listening
attempt podman stop --time 2 sql
check "but podman stop has to kill it there, which is why the example does without" \
    equal "exited 137" "$(exit_code sql)"
check "and it is not shut down cleanly" test ! -e "$(volume script)/data/clean-shutdown"
remove sql
attempt sql supervised --name sql --detach --entrypoint '["/akv-init", "exec", "--init", "--"]' -- \
    /opt/mssql/bin/launch_sqlservr.sh /opt/mssql/bin/sqlservr
check "behind --init the script starts the server, too" until_true listening
attempt podman stop --time 30 sql
check "and podman stop lets it end: the script's 143" equal "exited 143" "$(exit_code sql)"
check "after it has shut down cleanly" test -e "$(volume supervised)/data/clean-shutdown"
remove sql

echo "# SQL Server's file capability"

for kept in '' '|security-opt'; do
    without="^--(cap-add$kept)" attempt sql capability --rm
    check "outside the bounding set ${kept:+and without no-new-privileges }it stops the start: 126 and the hint" \
        has "$code $output" "126 akv-init: error: " "akv-init: hint: " NET_BIND_SERVICE
done
# In the bounding set and nowhere else (containers.conf), which is what `add` means under Kubernetes.
without='^--cap-' attempt sql capability --name sql --detach
check "in the bounding set, with no-new-privileges, the server comes up" until_true listening
check "and has not gained the capability" equal "1 0000000000000000" "$(status sql NoNewPrivs) $(status sql CapEff)"
remove sql
without='^--(cap-|security-opt)' attempt sql capability --name sql --detach
check "without no-new-privileges it comes up, too" until_true listening
check "and has gained the capability: akv-init takes nothing away" equal "0 0000000000000400" \
    "$(status sql NoNewPrivs) $(status sql CapEff)"
remove sql

echo "# SQL Server by examples/mssql/kubernetes.yaml"

grep -v azure.workload.identity/use "$example/kubernetes.yaml" | pod "$tmp/pod-without-label.json"
before="$(requests imds) $(requests login) $(requests vault)"
attempt kube play "$tmp/pod-without-label.json"
check "without the label on the pod it ends" until_true exited mssql-0-mssql
check "with 78" equal "exited 78" "$(exit_code mssql-0-mssql)"
check "and a hint that names the label" \
    has "$(podman logs mssql-0-mssql 2>&1)" "akv-init: hint: " azure.workload.identity/use
check "and no request, although the node's identity was there to be had" equal "$before" \
    "$(requests imds) $(requests login) $(requests vault)"
attempt kube down "$tmp/pod-without-label.json"

token_requests=$(requests imds)
federated_requests=$(requests login)
pod "$tmp/pod.json" <"$example/kubernetes.yaml"
attempt kube play "$tmp/pod.json"
check "the pod starts" went_well
check "the database comes up" until_true listening
check "the secret is the sa password" login "$password"
check "the token came from the service account's: one request to Entra, none to the node's endpoint" \
    equal "$((federated_requests + 1)) $token_requests" "$(requests login) $(requests imds)"
check "one process is left, and it is the server as process 1" equal "1 /opt/mssql/bin/sqlservr" \
    "$(podman top mssql-0-mssql pid args | tail -n +2 | sed 's/  */ /; s/ *$//')"
check "the pod's security context is in force: user, bounding set, no new privileges, read-only root" \
    equal "10001 0000000000000400 1 true" \
    "$(status mssql-0-mssql Uid) $(status mssql-0-mssql CapBnd) $(status mssql-0-mssql NoNewPrivs) $(
        podman inspect --format '{{.HostConfig.ReadonlyRootfs}}' mssql-0-mssql
    )"
check "podman inspect does not show the secret" has_not "$(podman inspect mssql-0-mssql)" "$password"
check "nor does the log" has_not "$(podman logs mssql-0-mssql 2>&1)" "$password"
attempt podman stop --time 30 mssql-0-mssql
check "it stops within 5 s" at_most 5000 "$took"
check "its exit code is 0" equal "exited 0" "$(exit_code mssql-0-mssql)"
check "it has shut down cleanly" test -e "$tmp/volumes/mssql-0/data/data/clean-shutdown"
attempt kube down "$tmp/pod.json"

total
