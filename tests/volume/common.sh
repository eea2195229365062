# shellcheck shell=bash disable=SC2034,SC2119,SC2120,SC2154 # variables and arguments of the script that sources it
# Volumes, and checks of a run on one. Sourced by tests/volume.sh after tests/namespace/common.sh.
#
# A part has one volume at a time: it is mounted at $volume, $dir is akv-init's DIR, and $kind is `tmpfs` or `disk`.
# A case is a run of `write` in $layout, on a volume that is `empty` or has an `old` set by $state.

# ---------------------------------------------------------------------------------------------------------------------
# Volumes
# ---------------------------------------------------------------------------------------------------------------------

loops=yes
losetup --find >/dev/null 2>&1 || loops=

unmount() {
    ! mountpoint --quiet "$volume" || umount --recursive "$volume"
}

memory() { # memory [OPTIONS]: a tmpfs
    unmount
    kind=tmpfs
    mount -t tmpfs ${1:+-o "$1"} tmpfs "$volume"
    mkdir "$dir"
}

ram() { # a ramfs, which has neither a size nor a quota
    unmount
    kind=tmpfs
    mount -t ramfs ramfs "$volume"
    mkdir "$dir"
}

disk() { # disk [MKFS OPTION...]: an ext4 of 4 MiB without a reserve, or an overlay of that size
    [ -n "$loops" ] || { overlay && return; }
    unmount
    kind=disk
    rm -f "$volume.ext4"
    truncate --size 4M "$volume.ext4"
    mkfs.ext4 -q -m 0 "$@" "$volume.ext4"
    mount -o loop "$volume.ext4" "$volume"
    mkdir "$dir"
}

overlay() {
    unmount
    kind=disk
    mkdir -p "$volume.lower" "$volume.upper"
    ! mountpoint --quiet "$volume.upper" || umount "$volume.upper"
    mount -t tmpfs -o size=4m,nr_inodes=64 tmpfs "$volume.upper"
    mkdir "$volume.upper/upper" "$volume.upper/work"
    mount -t overlay -o "lowerdir=$volume.lower,upperdir=$volume.upper/upper,workdir=$volume.upper/work" \
        overlay "$volume"
    mkdir "$dir"
}

limited() { # a btrfs with a quota of 1 MiB for $dir; where that is not possible an ordinary disk, and not 0
    unmount
    kind=disk
    rm -f "$volume.btrfs"
    # The smallest possible size.
    truncate --size 120M "$volume.btrfs"
    if mkfs.btrfs "$volume.btrfs" >/dev/null 2>&1 && mount -o loop "$volume.btrfs" "$volume" 2>/dev/null; then
        btrfs quota enable "$volume"
        btrfs subvolume create "$dir" >/dev/null
        btrfs qgroup limit 1M "$dir"
    else
        disk
        return 1
    fi
}

share() { # share SWITCH...: a file system like a share, by share.py
    unmount
    kind=disk
    rm -rf "$volume.shared"
    mkdir "$volume.shared"
    /usr/bin/python3 "$repository/tests/volume/share.py" "$volume.shared" "$volume" "$@" <"$tmp/stdin" 9>&- &
    until mountpoint --quiet "$volume"; do
        kill -0 $! || exit 1
        sleep 0.02
    done
    mkdir "$dir"
}

# ---------------------------------------------------------------------------------------------------------------------
# Cases
# ---------------------------------------------------------------------------------------------------------------------

# each FUNCTION [WORD...]: in both layouts, on an empty volume and over an old set.
each() {
    local layout state
    for layout in plain atomic; do
        for state in empty old; do
            usual
            "$@"
        done
    done
}

# The defaults that a case may change: the words before the binary, those before it when the old set is written, options,
# the binary and its environment, and permissions. $now describes the case. Where $warning is set, every run has that
# warning.
usual() {
    as=() owner=() options=() azure=("${akv[@]}") file_mode=440 directory_mode=750
    now="$layout, on an empty volume"
    [ "$state" = empty ] || now="$layout, over an old set"
}

# begin: fills the volume before the fault.
begin() {
    [ "$state" = old ] || return 0
    run "${owner[@]}" "${akv[@]}" write --layout "$layout" "${old[@]}" "$dir"
    [ "$code" = 0 ] || { printf 'the old set cannot be written: %s\n' "$output" && exit 1; }
}

# run COMMAND...: leaves its exit code in $code and what it printed in $output.
run() {
    code=0
    output=$(timeout --kill-after 1 60 "$@" 2>&1) || code=$?
}

write() { # the new set
    run "${as[@]}" "${azure[@]}" write --layout "$layout" "${options[@]}" "${new[@]}" "$dir"
}

# Everything below a directory, and itself; of files also time and checksum.
listing() {
    find "$1" -printf '%P %y %m %U:%G %i %l\n' | LC_ALL=C sort
    find "$1" -type f -printf '%P %T@\n' -exec sha256sum {} + | LC_ALL=C sort
}

# Names, types, permissions, targets of links.
tree() {
    find "$1" -mindepth 1 -printf '%P %y %m %l\n' | mask | LC_ALL=C sort
}

mask() {
    sed -E -e 's/\.\.akv-init-[0-9a-f]{16}/..akv-init-*/g' -e "s#$dir#DIR#g"
}

# Its output without the warnings that every run on a disk, or on this one, has.
messages() {
    case $kind in
        tmpfs) cat <<<"$output" ;;
        disk) grep -vF -e "akv-init: warning: \`$dir\` is not in memory (tmpfs): " \
            -e "akv-init: warning: ${warning:-no other}" <<<"$output" || true ;;
    esac | mask
}

# refused SENTENCE ERROR [HINT...]: `write` fails with 73 and that error. The hint contains each HINT; without HINT there
# is none. Nothing has changed.
refused() {
    local before
    before=$(listing "$dir")
    write
    check "$1: 73, and nothing has changed" is_refused "$2" "$before" "${@:3}"
}

is_refused() { # is_refused ERROR LISTING [HINT...]
    local error=$1 before=$2
    shift 2
    # The layout that may have made what is in the way is in the golden messages, and so is the hint.
    equal "73 akv-init: error: $error" \
        "$code $(messages | grep -v '^akv-init: hint: ' | sed 's/, as --layout [a-z]* makes it$//')" || return
    if [ $# = 0 ]; then
        equal "" "$(hint)" || return
    else
        equal "1 hint" "$(hint | wc -l) hint" && has "$(hint | mask)" "$@" || return
    fi
    diff <(cat <<<"$before") <(listing "$dir")
}

# written SENTENCE: `write` succeeds without output and leaves nothing temporary.
written() {
    write
    check "$1: it is written, and nothing temporary is left" is_written
}

is_written() { # is_written [WARNING]: with one warning, and this in it
    if [ $# = 0 ]; then
        equal "0 " "$code $(messages)" || return
    else
        equal "0 1" "$code $(messages | wc -l)" && has "$(messages)" "akv-init: warning: $1" || return
    fi
    diff <(expected) <(tree "$dir") && in_force
}

expected() {
    local directory="d $directory_mode " file="f $file_mode "
    {
        case $layout in
            plain)
                printf '%s\n' "a $file" "c $file" "dir $directory" "dir/b $file"
                [ "$state" = empty ] || echo "gone $file"
                ;;
            atomic)
                printf '%s\n' "..akv-init-* $directory" "..akv-init-*/a $file" "..akv-init-*/c $file" \
                    "..akv-init-*/dir $directory" "..akv-init-*/dir/b $file" "..data l 777 ..akv-init-*" \
                    "a l 777 ..data/a" "c l 777 ..data/c" "dir l 777 ..data/dir"
                ;;
        esac
    } | LC_ALL=C sort
}

in_force() { # the new set
    equal "$big|new b|new c" "$(cat "$dir/a")|$(cat "$dir/dir/b")|$(cat "$dir/c")"
}

# meanwhile CHANGE: `write`, and CHANGE when it has checked $dir and asks for its token, before it gets one. Leaves the
# listing of the volume after CHANGE in $before.
meanwhile() {
    local changing gate
    mkfifo "$volume.reached" "$volume.go"
    python3 "$repository/tests/volume/gate.py" "${imds#*=}" "$volume.reached" "$volume.go" >"$volume.gate" 9>&- &
    gate=$!
    until [ -s "$volume.gate" ]; do
        kill -0 "$gate" && sleep 0.02
    done
    (
        # Blocks until akv-init asks.
        : <"$volume.reached"
        eval "$1"
        listing "$volume" >"$volume.before"
        : >"$volume.go"
    ) &
    changing=$!
    azure=("${environment[@]}" "AZURE_POD_IDENTITY_AUTHORITY_HOST=$(cat "$volume.gate")" AKV_INIT_TIMEOUT=20
        "$tmp/akv-init")
    write
    azure=("${akv[@]}")
    wait "$changing"
    kill "$gate"
    wait "$gate" || true
    before=$(cat "$volume.before")
    rm "$volume.reached" "$volume.go" "$volume.gate" "$volume.before"
}

# hold FUNCTION...: while another process holds the lock of $dir, until `release`.
hold() {
    local holder
    memory
    begin
    mkfifo "$volume.held" "$volume.release"
    (
        flock 7
        : >"$volume.held"
        : <"$volume.release"
    ) 7<"$dir" &
    holder=$!
    : <"$volume.held"
    "$@"
    kill "$holder" 2>/dev/null || true
    wait "$holder" || true
    rm "$volume.held" "$volume.release"
}

release() {
    : >"$volume.release"
}
