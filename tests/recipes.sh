#!/bin/bash
# Runs the recipes of examples/kubernetes/, examples/migrations/, examples/compose/ and deploy/kustomize/ as they stand
# there, on the release binary with its built-in addresses, and measures which way of handing over a secret leaks it where.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/recipes.sh
#
# The pods are started by `podman kube play`, the compose file by Docker Compose itself, through podman's API.
# PostgreSQL is Debian's, in an image whose entrypoint takes its password as the official image does. What podman does not
# support, env[].valueFrom.fileKeyRef, is judged by the API server's own code, and its file is read by the kubelet's.
#
# Needs root, Go, OpenSSL, podman with runc, mmdebstrap, and the programs that tests/container/common.sh asks for. podman's
# storage, state and network are those of a mount namespace of its own, so that the machine's containers are neither
# seen nor touched. Every check prints a sentence; the exit code is 0 if and only if all of them hold.

set -euo pipefail

# PostgreSQL with what it needs to run, and without what is large and not needed: LLVM, Perl, locales.
postgres_root() { # postgres_root TAR
    local root
    root=$(mktemp -d)
    mmdebstrap --quiet --variant=extract --format=directory \
        --include=bash,coreutils,postgresql-15,postgresql-client-15 bookworm "$root/image"
    # For popen(). Which shell it is a package decides when it is configured, and none of these is.
    ln -sf bash "$root/image/bin/sh"
    # The official image's numbers.
    printf 'root:x:0:0::/root:/bin/bash\npostgres:x:999:999::/var/lib/postgresql:/bin/bash\n' >"$root/image/etc/passwd"
    printf 'root:x:0:\npostgres:x:999:\n' >"$root/image/etc/group"
    install -d -m 0700 -o 999 -g 999 "$root/image/var/lib/postgresql/data"
    tar -C "$root/image" -cf "$1.new" --exclude='*llvm*' --exclude='*LLVM*' --exclude='libz3*' --exclude=bitcode \
        --exclude=perl --exclude=perl5 --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/i18n \
        --exclude=./usr/share/locale --exclude=./var/cache --exclude=./var/lib/apt --exclude='./dev/*' .
    mv "$1.new" "$1"
    rm -rf "$root"
}

# fetch: what comes from a registry of packages, kept for the next time. Called by common.sh.
fetch() {
    kept=$target/recipes
    mkdir -p "$kept"
    command -v go >/dev/null || cannot "there is no go"
    go_build compose container/compose github.com/docker/compose/v2/cmd
    go_build api-server container/kubernetes .
    go_build kustomize container/kustomize .
    go_build kubelet formats/kubelet .
    if [ ! -e "$kept/postgres-$(recipe).tar" ]; then
        command -v mmdebstrap >/dev/null || cannot "there is no mmdebstrap"
        postgres_root "$kept/postgres-$(recipe).tar" || cannot "mmdebstrap could not make the image"
    fi
}

go_build() { # go_build PROGRAM MODULE PACKAGE
    (cd "$repository/tests/$2" && go build -buildvcs=false -trimpath -ldflags '-s -w' -o "$kept/$1" "$3") ||
        cannot "tests/$2 does not build"
}

recipe() {
    declare -f postgres_root | cksum | cut -d ' ' -f 1
}

# shellcheck source=tests/container/common.sh
source "$(dirname "$0")/container/common.sh"
kept=$target/recipes
kubernetes=$repository/examples/kubernetes
migrations=$repository/examples/migrations

# In no other file of this machine. The last ones are each for one way of handing over.
random() {
    od -An -N8 -tx8 /dev/urandom | tr -d ' '
}
declare -A secret
for name in postgres-password payment-api-key reports-signing-key orders-db-password by-exec by-memfd by-write; do
    secret[$name]="$name-$(random)"
done
secret[by-value]="by-value-$(random)"
arguments=()
for name in "${!secret[@]}"; do
    arguments+=(--secret "$name=${secret[$name]}")
done

# What the migrations read: bytes, a JSON object, and a certificate with its issuer's in a PFX, as Key Vault keeps it.
made=$tmp/made
mkdir -m 0700 "$made"
head -c 32 /dev/urandom >"$made/session-key"
(
    cd "$made"
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=issuer -keyout issuer.key -out issuer.pem
    openssl req -newkey rsa:2048 -nodes -subj /CN=orders -keyout orders.key -out orders.csr
    openssl x509 -req -in orders.csr -CA issuer.pem -CAkey issuer.key -CAcreateserial -days 2 -out orders.pem
    openssl pkcs12 -export -in orders.pem -inkey orders.key -certfile issuer.pem -passout pass: -out orders.pfx
    cat orders.pem issuer.pem >chain.pem
    cat orders.key chain.pem >all.pem
) 2>"$tmp/openssl.log" || cannot "openssl: $(cat "$tmp/openssl.log")"
arguments+=(--secret "session-key=$(base64 -w 0 "$made/session-key")"
    --secret "orders-tls=$(base64 -w 0 "$made/orders.pfx")" --content-type orders-tls=application/x-pkcs12
    --secret "orders-db={\"user\":\"orders\",\"password\":\"${secret[orders-db-password]}\"}")
start_azure "${arguments[@]}"

# send LINE: to the stand-in, see examples/standin.rs. Waits until it is done.
send() {
    local before
    before=$(said "$1")
    echo "$1" >&9
    until_true says "$1" "$((before + 1))" || cannot "the stand-in does not do \"$1\": $(tail -n 1 "$tmp/azure/stdout")"
}
said() {
    grep -cxF -- "$1" "$tmp/azure/stdout" || true
}
says() {
    [ "$(said "$1")" = "$2" ]
}

# nowhere SECRET: no file that podman keeps has it. Volumes in memory are mounted elsewhere, or over what is looked at.
nowhere() {
    equal "" "$(found "$1")"
}
found() {
    grep -rlF -- "$1" "$tmp/storage" "$tmp/volumes" "$tmp/home" "$tmp/tmp" /run || true
}

environment_of() {
    tr '\0' '\n' <"/proc/$(pid "$1")/environ"
}

# ---------------------------------------------------------------------------------------------------------------------
# The images
# ---------------------------------------------------------------------------------------------------------------------

mkdir "$tmp/image"
install -m 0755 "$binary" "$tmp/image/akv-init"
gcc -O1 -Wall -Wextra -Werror -static -o "$tmp/image/witness" "$ours/witness.c"
ln "$kept/postgres-$(recipe).tar" "$tmp/image/postgres.tar" 2>/dev/null ||
    cp "$kept/postgres-$(recipe).tar" "$tmp/image/postgres.tar"
install -m 0755 "$ours/postgres-entrypoint.sh" "$tmp/image/"

build "$repository/docker/Dockerfile.binary" "$tmp/image" akv-init:1
podman tag localhost/akv-init:1 localhost/akv-init:latest
build "$ours/Dockerfile.orders" "$tmp/image" orders:1
build "$kubernetes/Dockerfile" "$kubernetes" orders-akv:1 --build-arg AKV_INIT_IMAGE=localhost/akv-init:1 \
    --build-arg ORDERS_IMAGE=localhost/orders:1
build "$ours/Dockerfile.postgres" "$tmp/image" postgres:17
postgres_root=$(podman image mount localhost/postgres:17)

checksum() { # checksum SECRET: what the application of the recipes knows of it
    printf '%s' "${secret[$1]}" | "$tmp/image/witness" sum
}

login() { # login PASSWORD: at the database that listens in the containers' network
    env -i PATH="$PATH" PGPASSWORD="$1" PGCONNECT_TIMEOUT=5 nsenter --net="$net" chroot "$postgres_root" \
        /usr/lib/postgresql/15/bin/psql --host=127.0.0.1 --username=postgres --no-password --no-psqlrc --tuples-only \
        --no-align --command="SELECT 'logged in as ' || current_user" 2>&1
}
listening() {
    nsenter --net="$net" chroot "$postgres_root" /usr/lib/postgresql/15/bin/pg_isready --quiet --host=127.0.0.1
}
comes_up() { # comes_up CONTAINER: the database in it
    until_true listening || { podman logs --tail 20 "$1"; false; }
}
logged() { # logged CONTAINER TEXT: it is in the container's log
    podman logs "$1" 2>&1 | grep -qF -- "$2"
}

echo "# What an API server says to the manifests"

for component in entrypoint files; do
    attempt "$kept/kustomize" "$repository/deploy/kustomize/example-$component"
    check "kustomize renders the example of the component $component" went_well
    echo "$output" >"$tmp/component-$component.yaml"
done
for manifest in "$kubernetes"/*.yaml "$migrations"/*/after.yaml "$repository/examples/mssql/kubernetes.yaml" \
    "$tmp"/component-*.yaml; do
    attempt "$kept/api-server" "$manifest"
    check "${manifest#"$repository/examples/"} is one for Kubernetes 1.35, and its pods are \"restricted\" ones" went_well
done
for manifest in "$migrations"/*/before.yaml; do
    # Their groups have a dot. tests/it/migrations.rs reads them.
    "$python" -c '
import sys, yaml
objects = yaml.safe_load_all(sys.stdin)
yaml.safe_dump_all([it for it in objects if "." not in it["apiVersion"].split("/")[0]], sys.stdout)
' <"$manifest" >"$tmp/before.yaml"
    attempt "$kept/api-server" "$tmp/before.yaml"
    check "${manifest#"$repository/examples/"} is one too, but for its custom resources" went_well
done

echo "# PostgreSQL by examples/kubernetes/postgres.yaml"

# Not two minutes, where Azure is not there.
short=(--env AKV_INIT_TIMEOUT=3s)
pod "$tmp/postgres.json" "${short[@]}" <"$kubernetes/postgres.yaml"
secrets=$tmp/memory/postgres-0/secrets
file=$secrets/postgres-password

attempt kube play "$tmp/postgres.json"
check "the pod starts" went_well
check "the database comes up" comes_up postgres-0-postgres
check "the secret is its password" equal "logged in as postgres" "$(login "${secret[postgres-password]}")"
check "another password is not" has "$(login "${secret[by-value]}" || true)" "password authentication failed"
check "the init container says what it wrote" equal \
    "akv-init: wrote 1 file to /secrets (mode 0440, 65532:999)" "$(podman logs postgres-0-secrets 2>&1)"
check "the file is the init container's, and the group of the pod's volumes may read it" equal "440 65532:999" \
    "$(stat -c '%a %u:%g' "$file")"
check "it holds the secret's bytes and nothing else" equal "$(printf '%s' "${secret[postgres-password]}" | cksum)" \
    "$(cksum <"$file")"
check "PostgreSQL is another user, who may read it by that group" equal "999 999" \
    "$(status postgres-0-postgres Uid) $(status postgres-0-postgres Groups)"
check "and may not write to it" has "$(podman exec postgres-0-postgres bash -c ': >>/secrets/postgres-password' 2>&1 ||
    true)" "Permission denied"
check "nor put another in its place" has "$(podman exec postgres-0-postgres rm /secrets/postgres-password 2>&1 ||
    true)" "Read-only file system"
check "a third user in the same container may not even read it" \
    has "$(podman exec --user 12345:12345 postgres-0-postgres cat /secrets/postgres-password 2>&1 || true)" \
    "Permission denied"
for container in secrets postgres; do
    attempt podman inspect "postgres-0-$container"
    check "podman inspect of $container does not show the secret" has_not "$output" "${secret[postgres-password]}"
    check "nor does its log" has_not "$(podman logs "postgres-0-$container" 2>&1)" "${secret[postgres-password]}"
done
check "the secret is nowhere on the disk, not even in the database's volume" nowhere "${secret[postgres-password]}"
check "its own entrypoint exports the password, as the official image's does" \
    has "$(environment_of postgres-0-postgres)" "POSTGRES_PASSWORD=${secret[postgres-password]}"
check "PostgreSQL has not the pod's identity: no variable, no token" \
    equal "no" "$({ environment_of postgres-0-postgres | grep ^AZURE_ || podman exec postgres-0-postgres \
        ls /var/run/secrets/azure; } >/dev/null 2>&1 && echo yes || echo no)"
check "the pod's security context is in force: bounding set, no new privileges, seccomp, read-only root" \
    equal "0000000000000000 1 2 true" "$(status postgres-0-postgres CapBnd) $(status postgres-0-postgres NoNewPrivs) $(
        status postgres-0-postgres Seccomp) $(podman inspect --format '{{.HostConfig.ReadonlyRootfs}}' \
        postgres-0-postgres)"

# again: the pod is started again, as on a node whose container runtime has been restarted: all containers anew, and
# what is in memory still there.
again() {
    podman pod stop --time 20 postgres-0 >/dev/null
    attempt from_there pod start postgres-0
}

send "close vault"
again
check "while the vault cannot be reached it starts again" comes_up postgres-0-postgres
check "on the file that it has" equal "logged in as postgres" "$(login "${secret[postgres-password]}")"
check "with a warning" has "$(podman logs postgres-0-secrets 2>&1)" "akv-init: warning: " prod-kv.vault.azure.net
check "and the init container's exit code 0" equal "exited 0" "$(exit_code postgres-0-secrets)"
send "open vault"

send "deny postgres-password"
again
check "once access is denied it does not: the init container ends with 77" equal "exited 77" \
    "$(exit_code postgres-0-secrets)"
check "and PostgreSQL is not started" equal "exited 0" "$(exit_code postgres-0-postgres)"
send "delete postgres-password"
again
check "once the secret is deleted it does not: the init container ends with 66" equal "exited 66" \
    "$(exit_code postgres-0-secrets)"
check "and PostgreSQL is not started" equal "exited 0" "$(exit_code postgres-0-postgres)"
check "no server listens yet" equal "no" "$(listening && echo yes || echo no)"
send restore
again
check "with the secret back it starts" comes_up postgres-0-postgres
attempt kube down "$tmp/postgres.json"

send "close vault"
grep -v -e --keep-existing "$kubernetes/postgres.yaml" | pod "$tmp/postgres.json" "${short[@]}"
attempt kube play "$tmp/postgres.json"
check "without --keep-existing, on the same volumes, the init container ends with 69" equal "exited 69" \
    "$(exit_code postgres-0-secrets)"
check "and PostgreSQL is not started" equal "created 0" "$(exit_code postgres-0-postgres)"
check "the file is left as it was" equal "440 65532:999" "$(stat -c '%a %u:%g' "$file")"
attempt kube down "$tmp/postgres.json"
send "open vault"

rm -rf "${secrets:?}" "$tmp/volumes/postgres-0"
sed 's,akv://prod-kv/postgres-password,akv://prod-kv/no-such-secret,' "$kubernetes/postgres.yaml" |
    pod "$tmp/postgres.json" "${short[@]}"
attempt kube play "$tmp/postgres.json"
check "a secret that is not there: 66, and its name" has \
    "$(exit_code postgres-0-secrets) $(podman logs postgres-0-secrets 2>&1)" "exited 66 akv-init: error: " \
    no-such-secret
check "then PostgreSQL is not started" equal "created 0" "$(exit_code postgres-0-postgres)"
check "and nothing is written" equal "" "$(ls -A "$secrets")"
attempt kube down "$tmp/postgres.json"

pod "$tmp/postgres.json" "${short[@]}" --memory "$tmp/volumes" <"$kubernetes/postgres.yaml"
attempt kube play "$tmp/postgres.json"
check "on a disk it is not written: 73, and the hint" has \
    "$(exit_code postgres-0-secrets) $(podman logs postgres-0-secrets 2>&1)" "exited 73 akv-init: error: " \
    "akv-init: hint: " "medium: Memory"
attempt kube down "$tmp/postgres.json"

echo "# PostgreSQL's client by examples/kubernetes/refresh.yaml"

rm -rf "$tmp/volumes/postgres-0" "$tmp/memory/postgres-0"
pod "$tmp/postgres.json" <"$kubernetes/postgres.yaml"
attempt kube play "$tmp/postgres.json"
check "its server comes up" comes_up postgres-0-postgres
sql() { # sql STATEMENT: as the superuser of that server
    env -i PATH="$PATH" PGPASSWORD="${secret[postgres-password]}" nsenter --net="$net" chroot "$postgres_root" \
        /usr/lib/postgresql/15/bin/psql --host=127.0.0.1 --username=postgres --no-psqlrc --quiet --command="$1"
}
connections() {
    podman logs reports-0-reports 2>&1 | grep -c "connected as reports" || true
}
connects_again() { # connects_again COUNT: more often than that
    [ "$(connections)" -gt "$1" ]
}
passfile=$tmp/memory/reports-0/secrets/pgpass
token() {
    sed 's/^\*:\*:\*:\*://' "$passfile"
}
sed -e 's/pg1.postgres.database.azure.com/127.0.0.1/' -e 's/value: require/value: disable/' -e 's/value: "60"/value: "0.2"/' \
    "$kubernetes/refresh.yaml" | pod "$tmp/reports.json" "${short[@]}"
attempt kube play "$tmp/reports.json"
check "the pod starts" went_well
check "the init container says what it wrote" equal "akv-init: wrote 2 files to /secrets (mode 0400, 999:999)" \
    "$(podman logs reports-0-secrets 2>&1)"
sidecar_wrote() { # sidecar_wrote COUNT: so many times
    [ "$(podman logs reports-0-refresh 2>&1 | grep -c "^akv-init: wrote")" = "$1" ]
}
check "the sidecar fetches the token anew" until_true sidecar_wrote 1
sql "CREATE ROLE reports LOGIN PASSWORD '$(token)'"
check "the client connects with the token in its password file" until_true connects_again 0
first=$(token)
podman kill --signal HUP reports-0-refresh >/dev/null
check "HUP is a round at once" until_true sidecar_wrote 2
check "with another token" equal no "$([ "$first" = "$(token)" ] && echo yes || echo no)"
sql "ALTER ROLE reports PASSWORD '$(token)'"
count=$(connections)
check "the client connects with that one, and was not restarted" until_true connects_again "$count"
check "the sidecar is process 1 of its container" equal 1 "$(
    awk '$1 == "NSpid:" { print $NF }' "/proc/$(pid reports-0-refresh)/status")"
check "it has one thread and less than 1 MiB of its own" at_most 1023 "$(
    [ "$(status reports-0-refresh Threads)" = 1 ] && status reports-0-refresh RssAnon)"
send "close vault"
podman kill --signal HUP reports-0-refresh >/dev/null
sidecar_warned() {
    podman logs reports-0-refresh 2>&1 | grep -q "^akv-init: warning: .*prod-kv.vault.azure.net"
}
check "while the vault cannot be reached it warns" until_true sidecar_warned
count=$(connections)
check "and the client has its files" until_true connects_again "$count"
send "open vault"
attempt podman stop --time 20 reports-0-refresh
check "it stops within 2 s" at_most 2000 "$took"
check "with 0" equal "exited 0" "$(exit_code reports-0-refresh)"
check "the client has not the pod's identity" has_not "$(environment_of reports-0-reports)" AZURE_
attempt kube down "$tmp/reports.json"
attempt kube down "$tmp/postgres.json"
check "no token is on the disk" nowhere "$first"

echo "# An application by examples/kubernetes/install.yaml, baked.yaml and restart.yaml"

witness=(--env "WITNESS=$(checksum payment-api-key)")
for recipe in install baked restart; do
    # The version is another one here.
    sed 's,/[0-9a-f]\{32\}$,,' "$kubernetes/$recipe.yaml" | pod "$tmp/orders.json" "${witness[@]}"
    attempt kube play "$tmp/orders.json"
    check "$recipe.yaml: the pod starts" went_well
    check "and the program says that it has a child" until_true logged orders-0-orders child:
    check "the program is process 1, has its own user, and the secret in its environment" equal \
        $'pid 1 uid 10001 gid 10001\nserve: value\nchild: value' "$(podman logs orders-0-orders 2>&1)"
    check "its environment holds nothing of akv-init's" has_not "$(environment_of orders-0-orders)" AKV_INIT_ akv://
    check "podman inspect shows the reference and not the secret" equal "1 0" \
        "$(podman inspect orders-0-orders | grep -cF '"PAYMENT_API_KEY=akv://prod-kv/payment-api-key"') $(
            podman inspect orders-0-orders | grep -cF "${secret[payment-api-key]}")"
    check "the secret is nowhere on the disk" nowhere "${secret[payment-api-key]}"
    check "the pod's security context is in force: user, bounding set, no new privileges, seccomp, read-only root" \
        equal "10001 0000000000000000 1 2 true" "$(status orders-0-orders Uid) $(status orders-0-orders CapBnd) $(
            status orders-0-orders NoNewPrivs) $(status orders-0-orders Seccomp) $(
            podman inspect --format '{{.HostConfig.ReadonlyRootfs}}' orders-0-orders)"
    if [ "$recipe" = install ]; then
        installed=$tmp/volumes/orders-0/akv/akv-init
        check "what was installed is the binary under test" cmp "$binary" "$installed"
        check "it is the init container's, and executable for everybody" equal "755 65532:65532" \
            "$(stat -c '%a %u:%g' "$installed")"
        check "nothing else is there" equal akv-init "$(ls -A "${installed%/*}")"
        check "the image has no shell, and no other program" equal ./app/orders \
            "$(cd "$(podman image mount localhost/orders:1)" && find . -type f)"
        check "the init container has not the pod's identity" \
            has_not "$(podman inspect orders-0-install)" AZURE_ azure-identity-token
    fi
    attempt podman stop --time 20 orders-0-orders
    check "it stops within 2 s" at_most 2000 "$took"
    check "its exit code is 0" equal "exited 0" "$(exit_code orders-0-orders)"
    attempt kube down "$tmp/orders.json"
done

echo "# The components of deploy/kustomize"

for pair in "entrypoint value" "files file"; do
    read -r component place <<<"$pair"
    pod "$tmp/orders.json" "${witness[@]}" <"$tmp/component-$component.yaml"
    attempt kube play "$tmp/orders.json"
    check "$component: the pod starts" went_well
    check "and the program says that it has a child" until_true logged orders-0-orders child:
    check "the program is process 1, has its own user, and its secret as a $place" equal \
        $'pid 1 uid 10001 gid 10001\nserve: '"$place"$'\nchild: '"$place" "$(podman logs orders-0-orders 2>&1)"
    check "it cannot change what the init container has put there" has "$(podman inspect orders-0-orders |
        jq -c '[.[0].Mounts[] | select(.Destination == "/akv" or .Destination == "/secrets") | .RW]')" '[false]'
    check "the secret is nowhere on the disk" nowhere "${secret[payment-api-key]}"
    [ "$component" = entrypoint ] ||
        check "the sidecar runs" equal "running 0" "$(exit_code orders-0-akv-init-refresh)"
    attempt kube down "$tmp/orders.json"
done

echo "# A Job by examples/kubernetes/job.yaml"

witness=(--env "WITNESS=$(checksum orders-db-password)")
for run in report:report:0 report:fail:42 orders-db-password:no-such-secret:66; do
    IFS=: read -r from to expected <<<"$run"
    sed "s,\\(\"\\|akv://prod-kv/\\)$from\\b,\\1$to," "$kubernetes/job.yaml" |
        pod "$tmp/job.json" "${witness[@]}" "${short[@]}"
    attempt kube play "$tmp/job.json"
    check "the Job's pod ends, with $to in place of $from" until_true exited orders-report-0-report
    check "with $expected" equal "exited $expected" "$(exit_code orders-report-0-report)"
    case $expected in
        0) check "and had the secret" equal $'pid 1 uid 10001 gid 10001\nreport: value\nchild: value' \
            "$(podman logs orders-report-0-report 2>&1)" ;;
        66) check "which is among those that the Job does not try again" has \
            "$(grep values: "$kubernetes/job.yaml")" " $expected," ;;
    esac
    attempt kube down "$tmp/job.json"
done
check "the secret is nowhere on the disk" nowhere "${secret[orders-db-password]}"

echo "# The migrations of examples/migrations/*/after.yaml"

migrated() { # migrated TOOL [OPTION...]: starts its pod
    pod "$tmp/orders.json" "${short[@]}" "${@:2}" <"$migrations/$1/after.yaml"
    attempt kube play "$tmp/orders.json"
    check "$1: the pod starts" went_well
}
variable() { # variable NAME: its value in the application's environment
    tr '\0\n' '\n\0' <"/proc/$(pid orders-0-orders)/environ" | sed -n "s/^$1=//p" | tr '\0\n' '\n\0' | tr -d '\0'
}

migrated secrets-store-csi --env "WITNESS=$("$tmp/image/witness" sum <"$made/session-key")"
check "its program finds the decoded key in a file" until_true logged orders-0-orders "child: file"
written=$tmp/memory/orders-0/secrets
check "the session key is what was encoded" cmp "$made/session-key" "$written/session-key"
check "orders.pfx is the PFX" cmp "$made/orders.pfx" "$written/orders.pfx"
check "orders.pem is its key, its certificate and the issuer's" cmp "$made/all.pem" "$written/orders.pem"
check "the application's group may read it" equal "440 65532:10001" "$(stat -c '%a %u:%g' "$written/orders.pfx")"
attempt kube down "$tmp/orders.json"

before=$(requests vault)
migrated akv2k8s --env "WITNESS=$(checksum orders-db-password)"
check "its program has the password as a value" until_true logged orders-0-orders "child: value"
check "?user is that field" equal orders "$(variable DB_USER)"
check "?password is the other one" equal "${secret[orders-db-password]}" "$(variable DB_PASSWORD)"
check "?tls.crt is the certificate and its issuer's" equal "$(cat "$made/chain.pem")" "$(variable TLS_CRT)"
check "?tls.key is the private key" equal "$(cat "$made/orders.key")" "$(variable TLS_KEY)"
check "four variables of two secrets are two requests" equal 2 "$(($(requests vault) - before))"
attempt kube down "$tmp/orders.json"

for name in payment-api-key orders-db-password; do
    migrated secret-init --env "WITNESS=$(checksum "$name")"
    check "its program ends" until_true exited orders-0-orders
    check "with 0, and had $name" equal $'exited 0 pid 1 uid 10001 gid 10001\nreport: value\nchild: value' \
        "$(exit_code orders-0-orders) $(podman logs orders-0-orders 2>&1)"
    attempt kube down "$tmp/orders.json"
done

echo "# The file of examples/kubernetes/file-key-ref.yaml"

pod "$tmp/file.json" --only secrets <"$kubernetes/file-key-ref.yaml"
attempt kube play "$tmp/file.json"
check "its init container ends" until_true exited orders-0-secrets
check "with 0, and it says what it wrote" equal \
    "exited 0 akv-init: wrote 1 file to /secrets (mode 0400, 65532:65532)" \
    "$(exit_code orders-0-secrets) $(podman logs orders-0-secrets 2>&1)"
file=$tmp/memory/orders-0/secrets/orders.env
# Which file of which volume, and which keys, is what the manifest says.
keys() {
    "$python" - "$kubernetes/file-key-ref.yaml" "$tmp/memory/orders-0" <<'END'
import json, os, sys, yaml
with open(sys.argv[1], encoding="utf-8") as file:
    (pod,) = [document["spec"]["template"]["spec"] for document in yaml.safe_load_all(file) if "spec" in document]
keys = {}
for variable in pod["containers"][0]["env"]:
    key = variable["valueFrom"]["fileKeyRef"]
    keys.setdefault(os.path.join(sys.argv[2], key["volumeName"], key["path"]), []).append(key["key"])
json.dump(keys, sys.stdout)
END
}
check "the kubelet finds in it what the manifest says, and the secrets" equal "{\"$file\":{$(printf \
    '"DB_PASSWORD":"%s","PAYMENT_API_KEY":"%s"' "${secret[orders-db-password]}" "${secret[payment-api-key]}")}}" \
    "$(keys | "$kept/kubelet")"
check "it is the init container's alone: the kubelet is root" equal "400 65532:65532" "$(stat -c '%a %u:%g' "$file")"
attempt kube down "$tmp/file.json"

echo "# PostgreSQL by examples/compose/compose.yaml"

# Not by a function, whose shell would be the job that is ended at the end. It ends by itself when no client connects.
nsenter --net="$net" "${own_podman[@]}" system service --time 120 "unix://$tmp/podman.sock" \
    >"$tmp/podman-service.log" 2>&1 9>&- &
until_true test -S "$tmp/podman.sock" || cannot "podman's API does not answer: $(cat "$tmp/podman-service.log")"
podman tag localhost/postgres:17 docker.io/library/postgres:17

# An application of Entra, with its secret in a file as README.md says.
application() {
    sed -n "s/^AZURE_$1=//p" "$tmp/azure/secret.env"
}
(umask 077 && printf '%s' "$(application CLIENT_SECRET)" >"$tmp/client-secret")
chown 65532:65532 "$tmp/client-secret"

compose() { # compose FILE COMMAND...
    env -i PATH="$PATH" HOME="$tmp/home" DOCKER_HOST="unix://$tmp/podman.sock" TEST_CA="$tmp/azure/ca.pem" \
        AKV_INIT_IMAGE=localhost/akv-init:1 AZURE_TENANT_ID="$(application TENANT_ID)" \
        AZURE_CLIENT_ID="$(application CLIENT_ID)" AZURE_CLIENT_SECRET_FILE="$tmp/client-secret" \
        "$kept/compose" --ansi never --project-name recipe --file "$1" --file "$ours/compose-test.yaml" "${@:2}"
}
yaml=$repository/examples/compose/compose.yaml
up=(up --detach --pull never)

attempt compose "$yaml" "${up[@]}"
check "docker compose up goes well" went_well
check "the database comes up" comes_up recipe-postgres-1
check "the secret is its password" equal "logged in as postgres" "$(login "${secret[postgres-password]}")"
check "another password is not" has "$(login "${secret[by-value]}" || true)" "password authentication failed"
check "the health check passes" from_there healthcheck run recipe-postgres-1
check "the file is akv-init's, and PostgreSQL's group may read it" equal "440 65532:999" \
    "$(stat -c '%a %u:%g' "$(volume recipe_secrets)/postgres-password")"
check "it is in memory" equal tmpfs "$(stat -f -c %T "$(volume recipe_secrets)")"
attempt podman inspect recipe-memory-1 recipe-write-1 recipe-postgres-1
check "podman inspect shows neither the secret nor the application's" \
    has_not "$output" "${secret[postgres-password]}" "$(application CLIENT_SECRET)"
for service in memory write postgres; do
    check "$service: no capability, no new privileges, read-only root, not root" equal "[] true true no" "$(
        podman inspect --format '{{.EffectiveCaps}}' "recipe-$service-1") $(
        podman inspect --format '{{.HostConfig.SecurityOpt}}' "recipe-$service-1" | grep -q no-new-privileges &&
            echo true) $(podman inspect --format '{{.HostConfig.ReadonlyRootfs}}' "recipe-$service-1") $(
        podman inspect --format '{{.Config.User}}' "recipe-$service-1" | grep -qE '^(0|root|)(:|$)' || echo no)"
done
check "the log has nothing of it" has_not "$(podman logs recipe-write-1 2>&1; podman logs recipe-postgres-1 2>&1)" \
    "${secret[postgres-password]}" "$(application CLIENT_SECRET)"
check "the secret is nowhere on the disk" nowhere "${secret[postgres-password]}"
check "nor is the application's, but for its own file" nowhere "$(application CLIENT_SECRET)"

send "close vault"
attempt compose "$yaml" "${up[@]}"
check "up once more while the vault cannot be reached: the file that is there is good enough" went_well
check "with a warning" has "$(podman logs recipe-write-1 2>&1)" "akv-init: warning: " prod-kv.vault.azure.net
send "open vault"
send "delete postgres-password"
attempt compose "$yaml" "${up[@]}"
check "but not once the secret is deleted" has "$code $output" "1 " "didn't complete successfully: exit 66"
send restore
attempt compose "$yaml" down --volumes
check "down leaves nothing behind" equal "" "$(podman ps --all --quiet)$(podman volume ls --quiet)"

sed 's,akv://prod-kv/postgres-password,akv://prod-kv/no-such-secret,' "$yaml" >"$tmp/compose-missing.yaml"
attempt compose "$tmp/compose-missing.yaml" "${up[@]}"
check "a secret that is not there: up fails with write's 66" has "$code $output" "1 " \
    "didn't complete successfully: exit 66"
check "and PostgreSQL is not started" equal "created 0" "$(exit_code recipe-postgres-1)"
attempt compose "$tmp/compose-missing.yaml" down --volumes

sed 's,"sleep"\, "infinity","true",' "$yaml" >"$tmp/compose-alone.yaml"
attempt compose "$tmp/compose-alone.yaml" "${up[@]}"
check "without the service \`memory\` there is no file any more when PostgreSQL starts" \
    until_true logged recipe-postgres-1 "/secrets/postgres-password: No such file or directory"
attempt compose "$tmp/compose-alone.yaml" down --volumes

echo "# A virtual machine, by examples/vm"

machine=$repository/examples/vm
root=$tmp/machine
install -D -m 0755 "$binary" "$root/usr/local/bin/akv-init"
install -m 0755 "$tmp/image/witness" "$root/usr/local/bin/orders"
install -D -m 0644 "$machine/orders.service" "$root/etc/systemd/system/orders.service"
install -D -m 0644 -t "$root/usr/lib/systemd/system" /usr/lib/systemd/system/*.target
attempt systemd-analyze verify --man=no --root="$root" orders.service
check "systemd has nothing to say against the unit" equal "0 " "$code $output"

on_the_machine() { # on_the_machine COMMAND...: with the network and the names that the containers have
    # shellcheck disable=SC2016 # of the inner shell
    nsenter --net="$net" unshare --mount sh -c 'mount --bind "$1" /etc/hosts && shift && exec "$@"' sh "$tmp/hosts" "$@"
}

# What systemd would start: the variables, the program and its arguments, as a user that may read the credential.
sed -i "s/=CLIENT_ID$/=$(application CLIENT_ID)/; s/=TENANT_ID$/=$(application TENANT_ID)/; s,%d,$tmp/credentials," \
    "$root/etc/systemd/system/orders.service"
install -d -o 61184 -m 0500 "$tmp/credentials"
install -o 61184 -m 0400 "$tmp/client-secret" "$tmp/credentials/azure-client-secret"
chmod 0711 "$tmp"
mapfile -t variables < <(sed -n 's/^Environment=//p' "$root/etc/systemd/system/orders.service")
read -r -a words < <(sed -n "s,/usr/local,$root/usr/local,g; s/ serve$/ report/; s/^ExecStart=//p" \
    "$root/etc/systemd/system/orders.service")
attempt on_the_machine setpriv --reuid 61184 --regid 61184 --clear-groups --no-new-privs \
    env -i "${variables[@]}" SSL_CERT_FILE="$tmp/azure/ca.pem" WITNESS="$(checksum payment-api-key)" "${words[@]}"
check "its program has the secret in its environment" has "$code $output" "0 pid " "report: value"

# The official image has the directory of the socket.
printf 'services:\n  postgres:\n    network_mode: host\n    ports: !reset null\n    tmpfs: [/var/run/postgresql]\n' \
    >"$tmp/compose-host.yaml"
from_machine() { # from_machine COMMAND...: of Compose, with the value of the secret
    on_the_machine env -i POSTGRES_PASSWORD=akv://prod-kv/postgres-password SSL_CERT_FILE="$tmp/azure/ca.pem" \
        PATH="$PATH" HOME="$tmp/home" DOCKER_HOST="unix://$tmp/podman.sock" "$binary" exec -- "$kept/compose" \
        --ansi never --project-name machine --file "$machine/compose.yaml" --file "$tmp/compose-host.yaml" "$@"
}
attempt from_machine "${up[@]}"
check "akv-init exec -- docker compose up goes well" went_well
check "the database comes up" comes_up machine-postgres-1
check "the secret is its password" equal "logged in as postgres" "$(login "${secret[postgres-password]}")"
check "podman inspect does not show it" has_not "$(podman inspect machine-postgres-1)" "${secret[postgres-password]}"
attempt from_machine down --volumes

echo "# What each way of handing over leaks"

# start NAME OPTION... IMAGE [ARGUMENT...]: the application, with all that a container can be denied
start() {
    podman run --detach --name "$1" --network "ns:$net" --read-only --cap-drop all --security-opt no-new-privileges \
        --user 10001:10001 --volume "$tmp/azure/ca.pem:/etc/test-ca.pem:ro" --env SSL_CERT_FILE=/etc/test-ca.pem \
        --env "WITNESS=$(checksum "$1")" "${@:2}" >/dev/null
    until_true logged "$1" child: || cannot "$1 does not run: $(podman logs "$1" 2>&1)"
}
report_of() { # report_of NAME: what the witness of that name printed
    sed -n "s/^$1: //p"
}
# row CONTAINER LABEL: its row of the table
row() {
    local inspected disk=no
    inspected=$(podman inspect "$1")
    case $inspected in
        *"${secret[$1]}"*) inspected=value ;;
        *akv://*) inspected=reference ;;
        *) inspected=path ;;
    esac
    [ -z "$(found "${secret[$1]}")" ] || disk=value
    echo "| $2 | $inspected | $disk | $(podman exec --user 12345:12345 "$1" /app/orders peer | report_of peer) |" \
        "$(podman exec "$1" /app/orders peer | report_of peer) | $(podman logs "$1" | report_of child) |" \
        "$(podman exec "$1" /app/orders look | report_of look) |"
}

start by-value --env "SECRET=${secret[by-value]}" localhost/orders:1
start by-exec --env SECRET=akv://kv1/by-exec localhost/orders-akv:1
start by-memfd --entrypoint /akv-init localhost/orders-akv:1 \
    exec --memfd SECRET_FILE=akv://kv1/by-memfd -- /app/orders serve
install -d -m 2770 -o 65532 -g 10001 "$tmp/memory/by-write"
attempt podman run --rm --network "ns:$net" --read-only --cap-drop all --security-opt no-new-privileges \
    --volume "$tmp/azure/ca.pem:/etc/test-ca.pem:ro" --env SSL_CERT_FILE=/etc/test-ca.pem \
    --volume "$tmp/memory/by-write:/secrets" localhost/akv-init:1 write --secret secret=akv://kv1/by-write /secrets
check "akv-init write fills a volume in memory" went_well
start by-write --volume "$tmp/memory/by-write:/secrets:ro" --env SECRET_FILE=/secrets/secret localhost/orders:1

{
    echo "| delivered by | \`inspect\` | disk | \`/proc/PID\`, another user | \`/proc/PID\`, the same user |" \
        "a child process | an exec probe |"
    echo "|---|---|---|---|---|---|---|"
    row by-value "its value in the manifest"
    row by-exec "\`exec\`"
    row by-memfd "\`exec --memfd\`"
    row by-write "\`write\`, into memory"
} >"$tmp/leaks.md"
stands_in() { # stands_in FILE TEXT: all of its lines, one after the other
    [[ $(<"$1") == *"$2"* ]] || { printf '%s has not:\n%s\n' "$1" "$2"; false; }
}
check "docs/security.md has the table that was measured here" stands_in "$repository/docs/security.md" "$(cat "$tmp/leaks.md")"

total
