# shellcheck shell=bash disable=SC2034 # what it leaves in variables is for others
# What the tests in containers share: a podman of their own, how a check is made and reported, and the
# stand-in for Azure in a network where 169.254.169.254, login.microsoftonline.com and *.vault.azure.net lead to it. To
# be sourced by a script of `tests/` that runs with `set -euo pipefail`, before that does anything: it starts the script
# anew in a mount namespace. It leaves a temporary directory in $tmp, and removes it and every container at the end.

cannot() {
    echo "tests/$(basename "$0") cannot run: $*" >&2
    exit 2
}

[ -n "${AKV_INIT_TEST_BINARY:-}" ] || cannot "AKV_INIT_TEST_BINARY does not name the static binary to test"
binary=$(realpath -e "$AKV_INIT_TEST_BINARY") || cannot "there is no $AKV_INIT_TEST_BINARY"
[ "$(id -u)" = 0 ] || cannot "it must be root, for namespaces and file capabilities"
for program in cargo gcc ip nsenter podman runc setcap tar unshare; do
    command -v "$program" >/dev/null || cannot "there is no $program"
done
for python in python3 /usr/bin/python3 ''; do
    ! "$python" -c 'import yaml' 2>/dev/null || break
done
[ -n "$python" ] || cannot "no python3 has the module yaml (Debian: python3-yaml)"

repository=$(realpath "$(dirname "$0")/..")
ours=$repository/tests/container
target=$(realpath -m "${CARGO_TARGET_DIR:-$repository/target}")

if [ "${1-}" != --in-its-own-mounts ]; then
    # Out here, since a package's address may have to be asked for, and there is no resolver without /run.
    CARGO_TARGET_DIR=$target cargo build --quiet --manifest-path "$repository/Cargo.toml" --example standin
    if [ "$(type -t fetch)" = function ]; then
        fetch
    fi
    exec unshare --mount --propagation private -- "$0" --in-its-own-mounts
fi

tmp=$(mktemp -d)
# conmon leaves a file called `oom` in the directory that it was started in when a container runs out of memory.
cd "$tmp" || cannot "there is no $tmp"
own_podman=()
cgroups_before=$(find /sys/fs/cgroup -maxdepth 2 -name libpod_parent)

clean_up() {
    set +e
    # Not before it is podman for itself alone.
    if [ ${#own_podman[@]} != 0 ]; then
        "${own_podman[@]}" rm --all --force --time 0
        "${own_podman[@]}" pod rm --all --force
        "${own_podman[@]}" image unmount --all
    fi
    # shellcheck disable=SC2046 # one word for each job
    kill $(jobs -p)
    wait
    # podman never removes the group that it puts its containers' groups in.
    if [ -z "$cgroups_before" ]; then
        find /sys/fs/cgroup -depth -path '*/libpod_parent*' -type d -exec rmdir {} +
    fi
    cd /
    umount /var/lib/containers "$tmp/memory"
    rm -rf --one-file-system "$tmp"
} >/dev/null 2>&1
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---------------------------------------------------------------------------------------------------------------------
# podman, for itself alone
# ---------------------------------------------------------------------------------------------------------------------

mkdir -p /var/lib/containers "$tmp/storage" "$tmp/networks" "$tmp/home" "$tmp/tmp"
mount --bind "$tmp/storage" /var/lib/containers
mount -t tmpfs -o mode=755 tmpfs /run
mkdir "$tmp/volumes" "$tmp/memory"
mount -t tmpfs -o mode=755 tmpfs "$tmp/memory"

cat >"$tmp/hosts" <<END
127.0.0.1 localhost
127.0.0.10 kv1.vault.azure.net prod-kv.vault.azure.net
127.0.0.11 login.microsoftonline.com
127.0.0.12 no-such-vault.vault.azure.net
END

cat >"$tmp/containers.conf" <<END
[containers]
# What a runtime under Kubernetes gives a process that is not root for {drop: [ALL], add: [NET_BIND_SERVICE]}: the
# capability is in the bounding set and nowhere else. podman's own --cap-add would make it ambient, too.
default_capabilities = ["NET_BIND_SERVICE"]
# podman's defaults are above what a root without CAP_SYS_RESOURCE may set; the soft limit equals the hard one because
# \`kube play\` swaps them.
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
base_hosts_file = "$tmp/hosts"
http_proxy = false
[engine]
# crun refuses a machine with cgroup v1 and v2 side by side.
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
# podman's other kind of lock is shared memory, which a mount namespace does not keep apart.
lock_type = "file"
[network]
network_backend = "netavark"
network_config_dir = "$tmp/networks"
END

own_podman=(env -i PATH="$PATH" HOME="$tmp/home" TMPDIR="$tmp/tmp" CONTAINERS_CONF="$tmp/containers.conf"
    podman --root /var/lib/containers/storage --runroot /run/containers/storage)
podman() {
    "${own_podman[@]}" "$@"
}

from_there() { # podman in the stand-in's network, which the network of "the host" then is
    nsenter --net="$net" "${own_podman[@]}" "$@"
}

kube() { # A pod can have no other network than one of podman's own, or the host's.
    from_there kube "$@"
}

# pod FILE [OPTION...]: of the manifest on standard input the pod that a cluster would make of it, see manifests.py. Its
# volumes are $tmp/volumes/POD/VOLUME and, those in memory, $tmp/memory/POD/VOLUME.
pod() {
    sed -e "s/CLIENT_ID/$federated_client/" -e 's,REGISTRY\|docker.io/library,localhost,' |
        "$python" "$ours/manifests.py" pod /dev/stdin --ca "$tmp/azure/ca.pem" --token "$tmp/azure/token.jwt" \
            --tenant "$tenant" --volumes "$tmp/volumes" --memory "$tmp/memory" "${@:2}" >"$1"
}

build() { # build DOCKERFILE CONTEXT NAME [OPTION...]
    local output
    output=$(podman build --quiet --pull=never --network none -f "$1" -t "localhost/$3" "${@:4}" "$2" 2>&1) ||
        cannot "podman build -f $1: $output"
}

pid() {
    podman inspect --format '{{.State.Pid}}' "$1"
}

status() { # status CONTAINER FIELD: of /proc/PID/status, as the machine sees the container's process
    awk -v field="$2:" '$1 == field { print $2 }' "/proc/$(pid "$1")/status"
}

exit_code() {
    podman inspect --format '{{.State.Status}} {{.State.ExitCode}}' "$1"
}

exited() {
    [[ $(exit_code "$1") == exited* ]]
}

volume() {
    podman volume inspect --format '{{.Mountpoint}}' "$1"
}

remove() {
    podman rm --force --ignore --time 10 "$1" >/dev/null
}

# ---------------------------------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------------------------------

checks=0
failures=0

# check SENTENCE COMMAND...: the sentence holds if the command succeeds; what it prints is shown if not.
check() {
    local sentence=$1 shown
    shift
    checks=$((checks + 1))
    if shown=$("$@" 2>&1); then
        printf 'ok      %s\n' "$sentence"
    else
        failures=$((failures + 1))
        printf 'FAILED  %s\n' "$sentence"
        printf '        | %s\n' "${shown//$'\n'/$'\n        | '}"
    fi
}

total() {
    echo "$checks checks, $failures failed, in $SECONDS s"
    [ "$failures" = 0 ]
}

equal() { # equal EXPECTED FOUND
    [ "$1" = "$2" ] || { printf 'expected: %s\nfound:    %s\n' "$1" "$2"; false; }
}

at_most() { # at_most LIMIT FOUND
    [ "$2" -le "$1" ] || { printf 'at most: %s\nfound:   %s\n' "$1" "$2"; false; }
}

has() { # has TEXT PATTERN...: every fixed string is in the text
    local text=$1 pattern
    shift
    for pattern; do
        grep -qF -- "$pattern" <<<"$text" || { printf 'no "%s" in:\n%s\n' "$pattern" "$text"; return 1; }
    done
}

has_not() { # has_not TEXT PATTERN...
    local text=$1 pattern
    shift
    for pattern; do
        ! grep -qF -- "$pattern" <<<"$text" || { printf 'there is "%s" in:\n%s\n' "$pattern" "$text"; return 1; }
    done
}

# attempt COMMAND...: leaves its exit code in $code, what it printed in $output and the milliseconds in $took.
attempt() {
    local start
    start=$(date +%s%N)
    code=0
    output=$("$@" 2>&1 | tr '\0' '\n') || code=$?
    took=$((($(date +%s%N) - start) / 1000000))
}

went_well() { # the last attempt
    [ "$code" = 0 ] || { printf 'exit code %s:\n%s\n' "$code" "$output"; false; }
}

# until_true COMMAND...: runs it ten times a second, for 20 s.
until_true() {
    local try
    for try in {1..200}; do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    echo "not within 20 s ($try attempts): $*" >&2
    return 1
}

# ---------------------------------------------------------------------------------------------------------------------
# The stand-in for Azure
# ---------------------------------------------------------------------------------------------------------------------

# start_azure FLAG...: leaves in $net the network that it is in, in $tmp/azure its files, and in $federated_client and
# $tenant the identity that the service account's token is good for.
start_azure() {
    mkdir "$tmp/azure"
    mkfifo "$tmp/azure/stdin"
    # The stand-in ends when its standard input does, and so with this script, however that ends.
    exec 9<>"$tmp/azure/stdin"
    env -i PATH="$PATH" unshare --net -- sh -c \
        'ip link set lo up && ip address add 169.254.169.254/32 dev lo && exec "$@"' sh \
        "$target/debug/examples/standin" --dir "$tmp/azure" \
        --imds 169.254.169.254:80 --login 127.0.0.11:443 --vault 127.0.0.10:443 \
        --name login.microsoftonline.com --name kv1.vault.azure.net --name prod-kv.vault.azure.net "$@" \
        <"$tmp/azure/stdin" >"$tmp/azure/stdout" 2>"$tmp/azure/stderr" 9>&- &
    net=/proc/$!/ns/net
    until_true grep -qx ready "$tmp/azure/stdout" || cannot "the stand-in for Azure: $(cat "$tmp/azure/stderr")"
    chmod 0444 "$tmp/azure/ca.pem"
    federated_client=$(sed -n 's/^AZURE_CLIENT_ID=//p' "$tmp/azure/workload.env")
    tenant=$(sed -n 's/^AZURE_TENANT_ID=//p' "$tmp/azure/workload.env")
}

requests() { # requests DOOR: how many came to that door so far
    "$python" -c '
import json, sys
with open(sys.argv[1]) as file:
    print(sum(json.loads(line)["endpoint"] == sys.argv[2] for line in file))' "$tmp/azure/requests.jsonl" "$1"
}
