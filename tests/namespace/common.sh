# shellcheck shell=bash disable=SC2034 # what it leaves in variables is for others
# What the tests in network namespaces share: how they end, how a check is made and reported, and how a process
# gets a network, a hosts file and a resolv.conf of its own. To be sourced by a script of `tests/` that runs with
# `set -euo pipefail`; it leaves a temporary directory in $tmp, and ends all background jobs when the script ends.
#
# Namespaces live as long as the processes in them. Hosts file and resolv.conf are mounted over those of /etc for one
# process at a time, in a mount namespace of its own: not by `ip netns`, which would leave files in /etc/netns and /run.

cannot() {
    echo "tests/$(basename "$0") cannot run: $*" >&2
    exit 2
}

[ -n "${AKV_INIT_TEST_BINARY:-}" ] || cannot "AKV_INIT_TEST_BINARY does not name the static binary to test"
binary=$(realpath -e "$AKV_INIT_TEST_BINARY") || cannot "there is no $AKV_INIT_TEST_BINARY"
[ "$(id -u)" = 0 ] || cannot "it must be root, for namespaces"
for program in awk ip nsenter pgrep printenv python3 timeout unshare; do
    command -v "$program" >/dev/null || cannot "there is no $program"
done
unshare --net --mount --pid --fork true || cannot "namespaces are not allowed here"

repository=$(realpath "$(dirname "$0")/..")
tmp=$(mktemp -d)

end() { # end PID...: and everything that it started
    local pid
    for pid; do
        # shellcheck disable=SC2046 # one word for each child
        end $(pgrep -P "$pid")
        kill "$pid"
    done
}

clean_up() {
    set +e
    # shellcheck disable=SC2046 # one word for each job
    end $(jobs -p)
    wait
    rm -rf "$tmp"
} >/dev/null 2>&1
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---------------------------------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------------------------------

# check SENTENCE COMMAND...: the sentence holds if the command succeeds; what it prints is shown if not.
check() {
    local sentence=$1 found
    shift
    if found=$("$@" 2>&1); then
        printf 'ok      %s\n' "$sentence"
    else
        printf 'FAILED  %s\n' "$sentence"
        printf '        | %s\n' "${found//$'\n'/$'\n        | '}"
    fi
}

equal() { # equal EXPECTED FOUND
    [ "$1" = "$2" ] || { printf 'expected: %s\nfound:    %s\n' "$1" "$2"; false; }
}

between() { # between LEAST MOST FOUND
    { [ "$3" -ge "$1" ] && [ "$3" -le "$2" ]; } || { printf 'from %s to %s, found: %s\n' "$1" "$2" "$3"; false; }
}

has() { # has TEXT PATTERN...: every fixed string is in the text
    local text=$1 pattern
    shift
    for pattern; do
        grep -qF -- "$pattern" <<<"$text" || { printf 'no "%s" in:\n%s\n' "$pattern" "$text"; return 1; }
    done
}

matches() { # matches REGEX TEXT
    grep -qE -- "$1" <<<"$2" || { printf 'no %s in:\n%s\n' "$1" "$2"; false; }
}

milliseconds() { # by the monotonic clock
    python3 -c 'import time; print(int(time.monotonic() * 1000))'
}

# attempt COMMAND...: leaves its exit code in $code, what it printed in $output and the milliseconds in $took.
attempt() {
    local start
    start=$(milliseconds)
    code=0
    output=$(timeout --kill-after 1 115 "$@" 2>&1) || code=$?
    took=$(($(milliseconds) - start))
}

hint() {
    grep '^akv-init: hint: ' <<<"$output" || true
}

# total FILE: counts the checks that it has the lines of, and fails if one of them has.
total() {
    local failures
    failures=$(grep -c '^FAILED' "$1" || true)
    echo "$(grep -cE '^(ok|FAILED) ' "$1") checks, $failures failed, in $SECONDS s"
    [ "$failures" = 0 ]
}

# ---------------------------------------------------------------------------------------------------------------------
# Networks
# ---------------------------------------------------------------------------------------------------------------------

# build_standin: leaves in $standin the program that stands in for Azure.
build_standin() {
    local target
    command -v cargo >/dev/null || cannot "there is no cargo"
    target=$(realpath -m "${CARGO_TARGET_DIR:-$repository/target}")
    CARGO_TARGET_DIR=$target cargo build --quiet --manifest-path "$repository/Cargo.toml" --example standin ||
        cannot "the stand-in does not build"
    standin=$target/debug/examples/standin
}

# The stand-ins end when their standard input does, and so with this script, however that ends. Everything else is
# limited in time.
mkfifo "$tmp/stdin"
exec 9<>"$tmp/stdin"

# until_it_says NAME FILE LINE [SECONDS]: for 20 s, or so long
until_it_says() {
    local try
    for ((try = 0; try < ${4:-20} * 10; try++)); do
        ! grep -q -- "$3" "$tmp/$1/$2" 2>/dev/null || return 0
        sleep 0.1
    done
    cannot "$1 does not say \"$3\" ($try looks): $(cat "$tmp/$1/stderr")"
}

hosts() { # hosts FILE LINE...
    printf '%s\n' '127.0.0.1 localhost' "${@:2}" >"$tmp/$1"
}

resolv() { # resolv FILE ADDRESS: a pod's resolv.conf with that name server
    printf '%s\n' "nameserver $2" 'search default.svc.cluster.local svc.cluster.local cluster.local' \
        'options ndots:5' >"$tmp/$1"
}

# dns NETWORK NAME ADDRESS [OPTION...]: starts a name server in the network of the process NETWORK. It knows that the
# cluster has no such names, and whatever the options add; $tmp/NAME/log has the queries, and resolv.NAME leads to it.
dns() {
    command -v dnsmasq >/dev/null || cannot "there is no dnsmasq (Debian: dnsmasq-base)"
    mkdir "$tmp/$2"
    resolv "resolv.$2" "$3"
    nsenter --net="/proc/$1/ns/net" timeout 300 dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= \
        --no-resolv --no-hosts --bind-interfaces --listen-address="$3" --log-queries --log-facility="$tmp/$2/log" \
        --local=/cluster.local/ "${@:4}" 2>"$tmp/$2/stderr" 9>&- &
}

queries() { # queries NAME: what that name server was asked, one query a line
    grep -oE 'query\[[A-Z]+\] [^ ]+' "$tmp/$1/log" | sed 's/query//' || true
}

# Mounts a hosts file and a resolv.conf over those of /etc for the command alone. Nothing here forks: the command has
# the pid that this was started with.
# shellcheck disable=SC2016 # for the shell in there
etc='mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/resolv.conf && shift 2 && exec "$@"'

# enter PID HOSTS RESOLV: leaves in $here the words that bring a command into the network of that process, with these
# files in /etc.
enter() {
    here=(nsenter --net="/proc/$1/ns/net" unshare --mount --propagation private -- sh -c "$etc" sh "$tmp/$2" "$tmp/$3")
}
