#!/bin/bash
# Tests, on the release binary, what `akv-init write` and `install` do with volumes that are full, read-only, another
# user's, gone, or prepared by an attacker: 73 with the path, the reason and a hint, and the volume as it was, down to
# inode numbers. Then the fault is removed: the next run succeeds and leaves nothing temporary.
#
#   AKV_INIT_TEST_BINARY=target/x86_64-unknown-linux-musl/release/akv-init tests/volume.sh
#
# Each in both layouts, on an empty volume and over an old set of files. Everything is mounted in a mount namespace of
# its own. Calls that no available file system refuses are made to fail by strace, and tests/volume/share.py (FUSE) stands
# in for shares. Without loop devices, overlays on a tmpfs replace disks, with a message. Needs root, cargo, the programs
# checked below and those of tests/namespace/common.sh. The parts run in parallel and take a minute or two. Every check
# prints a sentence; the exit code is 0 if and only if all of them pass, 2 if they could not run.

set -euo pipefail

if [ -z "${AKV_INIT_TEST_NAMESPACE:-}" ] && [ "$(id -u)" = 0 ] && unshare --mount true 2>/dev/null; then
    AKV_INIT_TEST_NAMESPACE=own exec unshare --mount --propagation private -- bash "$0" "$@"
fi
# shellcheck source=tests/namespace/common.sh
source "$(dirname "$0")/namespace/common.sh"
for program in btrfs chattr flock jq losetup mkfs.btrfs mkfs.ext4 mountpoint prlimit setpriv strace; do
    command -v "$program" >/dev/null ||
        cannot "there is no $program (Debian: btrfs-progs, e2fsprogs, jq, mount, strace, util-linux)"
done
/usr/bin/python3 -c 'import fusepy' || cannot "there is no fusepy (Debian: python3-fusepy)"
[ -c /dev/fuse ] || cannot "there is no /dev/fuse"
strace -o /dev/null true || cannot "processes may not be traced here"
# shellcheck source=tests/volume/common.sh
source "$(dirname "$0")/volume/common.sh"
build_standin

mkdir "$tmp/mounts"
mount -t tmpfs tmpfs "$tmp/mounts"
trap 'umount --recursive --lazy "$tmp/mounts"; clean_up' EXIT

mkdir "$tmp/azure"
# Larger than a page, smaller than the limit of a secret.
big=$(head --bytes 15000 /dev/urandom | base64 --wrap=0)
env -i PATH="$PATH" "$standin" --dir "$tmp/azure" --imds 127.0.0.1:0 --vault 127.0.0.1:0 --secret "new-a=$big" \
    --secret new-b="new b" --secret new-c="new c" --secret old-a="old a" --secret old-b="old b" --secret old-gone=gone \
    <"$tmp/stdin" >"$tmp/azure/stdout" 2>"$tmp/azure/stderr" 9>&- &
until_it_says azure stdout '^ready$'
vault=$(awk '$1 == "vault" { print $2 }' "$tmp/azure/stdout")
imds=AZURE_POD_IDENTITY_AUTHORITY_HOST=$(awk '$1 == "imds" { print $2 }' "$tmp/azure/stdout")

# Other users need access to the binary, the certificate and the volumes.
chmod 0711 "$tmp"
chmod 0755 "$tmp/azure"
install --mode 0755 "$binary" "$tmp/akv-init"
environment=(env -i PATH=/usr/bin:/bin "SSL_CERT_FILE=$tmp/azure/ca.pem" "AKV_INIT_ALLOW_VAULT=$vault" AKV_INIT_QUIET=true)
akv=("${environment[@]}" "$imds" AKV_INIT_TIMEOUT=20 "$tmp/akv-init")
# Azure is unreachable: what fails with another error failed before the fetch.
offline=("${environment[@]}" AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:1 AKV_INIT_TIMEOUT=0 "$tmp/akv-init")
new=(--secret "a=akv://$vault/new-a" --secret "dir/b=akv://$vault/new-b" --secret "c=akv://$vault/new-c")
old=(--secret "a=akv://$vault/old-a" --secret "dir/b=akv://$vault/old-b" --secret "gone=akv://$vault/old-gone")
# The usual user of a container, and the one of the run before.
nobody=(setpriv --reuid 65532 --regid 65532 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs)
first=(setpriv --reuid 1000 --regid 1000 --clear-groups)
# Parts of the hint about a full volume.
room=(room sizeLimit)

# ---------------------------------------------------------------------------------------------------------------------
# Full volumes
# ---------------------------------------------------------------------------------------------------------------------

part_full() {
    echo "# Full volumes"
    each full_memory
    each no_inodes_in_memory
    each full_disk
    each no_inodes_on_disk
}

full_memory() {
    memory size=16k
    begin
    refused "full tmpfs ($now)" "cannot write \`DIR/a\`: No space left on device" "${room[@]}"
    mount -o remount,size=1m "$volume"
    written "with room"
}

no_inodes_in_memory() {
    local subject=DIR/dir/b left
    memory
    begin
    # One remains: for the first file, or for the directory of the set.
    left=$(stat --file-system --format '%c %d' "$volume" | awk '{ print $1 - $2 + 1 }')
    mount -o "remount,nr_inodes=$left" "$volume"
    [ "$layout" = plain ] || subject=DIR/dir
    refused "tmpfs without inodes ($now)" "cannot write \`$subject\`: No space left on device" "${room[@]}"
    mount -o remount,nr_inodes=100 "$volume"
    written "with inodes"
}

full_disk() {
    local subject=DIR/a
    disk
    begin
    fill
    # A full ext4 has no room for a directory either.
    [ "$layout" = plain ] || [ -z "$loops" ] || subject=DIR/..data
    refused "full disk ($now)" "cannot write \`$subject\`: No space left on device" "${room[@]}"
    rm "$volume"/filler*
    written "with room"
}

fill() { # to the last block: a large file leaves some that only small ones can use
    local number
    head --bytes 8M /dev/zero >"$volume/filler" || true
    sync --file-system "$volume"
    for ((number = 0; number < 50; number++)); do
        echo >"$volume/filler-$number" || break
    done
} 2>/dev/null

no_inodes_on_disk() {
    local subject=DIR/a number
    disk -N 64
    begin
    for ((number = 0; number < 100; number++)); do
        : >"$volume/filler-$number" || break
    done 2>/dev/null
    [ "$layout" = plain ] || subject=DIR/..data
    refused "disk without inodes ($now)" "cannot write \`$subject\`: No space left on device" "${room[@]}"
    rm "$volume"/filler-*
    written "with inodes"
}

part_limit() {
    echo "# A limit of the user or of the process"
    each quota
    each file_size
}

quota() {
    local subject=DIR/a real=yes
    limited || real=
    chown 65532:65532 "$dir"
    as=("${nobody[@]}") owner=("${nobody[@]}")
    begin
    [ "$layout" = plain ] || subject=DIR/..data
    if [ -n "$real" ]; then
        "${nobody[@]}" head --bytes 2M /dev/urandom >"$dir/filler" 2>/dev/null || true
    else
        as+=(strace -f -o /dev/null -e "inject=fchmod,mkdirat:error=EDQUOT")
    fi
    refused "quota ($now)" "cannot write \`$subject\`: Quota exceeded" "${room[@]}"
    as=("${nobody[@]}")
    rm -f "$dir/filler"
    # Until then it counts towards the quota.
    sync --file-system "$volume"
    written "with room"
}

file_size() {
    memory
    begin
    as=(prlimit --fsize=4096)
    refused "a limit on the size of files ($now)" "cannot write \`DIR/a\`: File too large" "ulimit -f"
    as=()
    written "without the limit"
}

# ---------------------------------------------------------------------------------------------------------------------
# Without permission
# ---------------------------------------------------------------------------------------------------------------------

part_closed() {
    echo "# Without permission: refused before the fetch"
    each read_only
    each of_root
    each labelled
    each frozen
}

read_only() {
    memory
    begin
    mount -o remount,ro "$volume"
    azure=("${offline[@]}")
    refused "mounted read-only ($now)" "cannot write \`DIR\`: Read-only file system" readOnly
    mount -o remount,rw "$volume"
    azure=("${akv[@]}")
    written "mounted read-write"
}

of_root() {
    memory
    begin
    as=("${nobody[@]}") azure=("${offline[@]}")
    refused "another user's, mode 0755 ($now)" "cannot write \`DIR\`: Permission denied" \
        "\`DIR\` belongs to 0:0 with mode 0755, and akv-init runs as 65532:65532" fsGroup
    chown --recursive 65532:65532 "$dir"
    azure=("${akv[@]}")
    written "as its owner"
}

# As a security module does it: owner and mode allow it.
labelled() {
    memory
    chmod 0777 "$dir"
    begin
    as=(strace -f -o /dev/null -e "inject=faccessat,faccessat2:error=EACCES") azure=("${offline[@]}")
    refused "refused although owner and mode allow it ($now)" "cannot write \`DIR\`: Permission denied" \
        "\`DIR\` belongs to 0:0 with mode 0777, and akv-init runs as 0:0; that allows it" SELinux AppArmor mount
    as=() azure=("${akv[@]}")
    written "when it is allowed"
}

frozen() {
    disk
    begin
    chattr +i "$dir"
    azure=("${offline[@]}")
    refused "immutable ($now)" "cannot write \`DIR\`: Operation not permitted" lsattr
    chattr -i "$dir"
    azure=("${akv[@]}")
    written "mutable again"
}

part_shared() {
    echo "# Shared by several users"
    each fs_group
    each sticky
    each unlinkable
}

fs_group() {
    memory noexec,nosuid,nodev
    chown 0:2000 "$dir"
    chmod 2775 "$dir"
    as=(setpriv --reuid 65532 --regid 65532 --groups 2000 --inh-caps=-all --bounding-set=-all --no-new-privs)
    owner=("${as[@]}") directory_mode=2750
    begin
    written "setgid, of a supplementary group, noexec, nosuid and nodev ($now)"
    check "all of it is the group's" equal 65532:2000 "$(find "$dir" -mindepth 1 -printf '%U:%G\n' | sort -u)"
    check "a third user of the group reads every file" \
        equal "a dir/b c" "$(readable setpriv --reuid 70000 --regid 70000 --groups 2000)"
    check "a fourth without it reads none" equal "" "$(readable setpriv --reuid 70001 --regid 70001 --clear-groups)"
}

readable() { # readable COMMAND...: which files it can read with these words in front
    local name
    for name in a dir/b c; do
        ! "$@" cat "$dir/$name" >/dev/null 2>&1 || echo "$name"
    done | xargs
}

# of_another MODE: the old set is of another user, in a directory of that mode.
of_another() {
    memory
    chmod "$1" "$dir"
    owner=("${first[@]}") as=("${nobody[@]}")
    begin
    [ "$layout" = atomic ] || chmod 0777 "$dir/dir"
}

sticky() {
    [ "$state" = old ] || return 0
    of_another 1777
    if [ "$layout" = plain ]; then
        chmod 0444 "$dir/a"
        refused "sticky, with a file of another user ($now)" "cannot write \`DIR/a\`: Operation not permitted" sticky
    else
        refused "sticky, with a set of another user ($now)" "cannot write \`DIR/..akv-init-*\`: Permission denied" \
            "1000:1000" "0750" "65532:65532"
    fi
    as=("${first[@]}") && [ "$layout" = atomic ] || directory_mode=777
    written "as that user"
}

# A file that is another user's and cannot be read gets no second hard link (protected_hardlinks).
unlinkable() {
    [ "$state" = old ] || return 0
    of_another 0777
    if [ "$layout" = plain ]; then
        directory_mode=777
        chmod 0755 "$dir/dir"
        azure=("${offline[@]}")
        refused "world-writable, with another user's directory at dir ($now)" \
            "cannot write \`DIR/dir/b\`: Permission denied" "1000:1000" "0755" "65532:65532"
        chmod 0777 "$dir/dir"
        azure=("${akv[@]}")
        written "world-writable, with files of another user that cannot be read ($now)"
    else
        refused "world-writable, with a set of another user ($now)" \
            "cannot write \`DIR/..akv-init-*\`: Permission denied" "1000:1000" "0750" "65532:65532"
        as=("${first[@]}")
        written "as that user"
    fi
}

# ---------------------------------------------------------------------------------------------------------------------
# Other things under the names
# ---------------------------------------------------------------------------------------------------------------------

declare -A noun=([link]="a symbolic link" [directory]="a directory" [file]="a file"
    [pipe]="a socket, a pipe or a device" [socket]="a socket, a pipe or a device"
    [device]="a socket, a pipe or a device")

part_planted() {
    local what name
    echo "# Something else under the name of a file: refused before the fetch"
    for name in a dir dir/b ..data; do
        for what in "${!noun[@]}"; do
            each planted "$what" "$name"
        done
    done
}

plant() { # plant WHAT PATH
    case $1 in
        link) ln -s /etc/passwd "$2" ;;
        directory) mkdir "$2" ;;
        file) echo planted >"$2" ;;
        pipe) mkfifo "$2" ;;
        # By its name alone, since the path of a socket may not be long.
        socket) (cd "$(dirname "$2")" && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")' &&
            mv socket "$2") ;;
        device) mknod "$2" c 1 3 ;;
    esac
}

planted() { # planted WHAT NAME
    local what=$1 name=$2 error hint="remove it"
    error="cannot write \`DIR/$name\`: it is ${noun[$what]}"
    case $layout/$name/$what in
        # What belongs there, or may be there.
        plain/a/file | plain/dir/b/file | plain/dir/directory | plain/..data/* | atomic/dir/b/*) return 0 ;;
        plain/dir/b/*) ;;
        plain/dir/*) error+=", not a directory" ;;
        atomic/..data/link) error+=" that akv-init did not make" hint="no other program writes to" ;;
        atomic/..data/*) ;;
        atomic/*/file | atomic/*/directory) hint="--layout plain" ;;
    esac
    memory
    begin
    [ "$name" != dir/b ] || mkdir -p "$dir/dir"
    [ "$state/$name" != empty/dir/b ] || chmod 0750 "$dir/dir"
    rm -rf "${dir:?}/$name"
    plant "$what" "$dir/$name"
    azure=("${offline[@]}")
    refused "a $what at $name ($now)" "$error" "$hint"
    rm -rf "${dir:?}/$name"
    azure=("${akv[@]}")
    written "without it"
}

part_mounts() {
    echo "# Mounts below the directory"
    each file_mount
    each nested
}

file_mount() {
    # There, a is a link.
    [ "$layout/$state" != atomic/old ] || return 0
    memory
    begin
    echo planted >"$volume/other"
    touch "$dir/a"
    mount --bind "$volume/other" "$dir/a"
    case $layout in
        plain) refused "a file mounted on a ($now)" "cannot write \`DIR/a\`: Device or resource busy" mounted ;;
        atomic) refused "a file mounted on a ($now)" "cannot write \`DIR/a\`: it is a file" "--layout plain" ;;
    esac
    umount "$dir/a"
    [ "$layout" = plain ] || rm "$dir/a"
    written "without it"
}

nested() {
    memory
    begin
    rm -rf "${dir:?}/dir"
    mkdir "$dir/dir"
    mount -t tmpfs tmpfs "$dir/dir"
    local error="cannot write \`DIR/dir/b\`: Cross-device link" hint="another volume"
    [ "$layout" = plain ] || error="cannot write \`DIR/dir\`: it is a directory" hint="--layout plain"
    refused "another volume at dir ($now)" "$error" "$hint"
    umount "$dir/dir"
    rmdir "$dir/dir"
    written "without it"
}

part_left() {
    echo "# Files that cannot be replaced or removed"
    each immutable_file memory
    each immutable_file disk
    each immutable_set memory
    each immutable_set disk
    each left_before
    each left_by_another
    each stolen
    each deep
    each sparse
}

immutable_file() { # immutable_file VOLUME
    [ "$layout/$state" = plain/old ] || return 0
    "$1"
    begin
    chattr +i "$dir/a"
    refused "an immutable file at a ($now, $1)" "cannot write \`DIR/a\`: Operation not permitted" lsattr
    chattr -i "$dir/a"
    written "mutable again"
}

immutable_set() { # immutable_set VOLUME
    [ "$layout/$state" = atomic/old ] || return 0
    local left
    "$1"
    begin
    left=$(readlink "$dir/..data")
    chattr +i "$dir/$left/a"
    write
    check "an immutable file in the old set ($1): the new one is in force, with a warning" goes_on
    write
    check "and once more" goes_on
    chattr -i "$dir/$left/a"
    written "mutable again"
}

left_before() {
    memory
    chmod 0777 "$dir"
    as=("${nobody[@]}") owner=("${nobody[@]}")
    begin
    "${first[@]}" touch "$dir/..akv-init-0123456789abcdef"
    "${first[@]}" ln -s ..akv-init-0123456789abcdef "$dir/..akv-init-fedcba9876543210"
    written "temporary files of a run as another user, in a world-writable directory ($now)"
}

left_by_another() {
    memory
    chmod 1777 "$dir"
    as=("${nobody[@]}") owner=("${nobody[@]}")
    begin
    "${first[@]}" touch "$dir/..akv-init-0123456789abcdef"
    write
    check "a temporary file of another user in a sticky directory ($now): a warning" goes_on
    rm "$dir/..akv-init-0123456789abcdef"
    written "without it"
}

# A third user can rename another user's directory, whose content must not be removed.
stolen() {
    memory
    chmod 0777 "$dir"
    begin
    "${first[@]}" mkdir --mode 0755 "$dir/theirs"
    "${first[@]}" touch "$dir/theirs/precious"
    "${nobody[@]}" mv "$dir/theirs" "$dir/..akv-init-0123456789abcdef"
    write
    check "another user's directory under a temporary name ($now): it is left alone, with a warning" goes_on
    check "with its content" test -e "$dir/..akv-init-0123456789abcdef/precious"
    rm -rf "$dir/..akv-init-0123456789abcdef"
    written "without it"
}

# goes_on: the new set is in force; one warning says that something temporary cannot be removed.
goes_on() {
    equal "0 1" "$code $(messages | wc -l)" &&
        has "$(messages)" "akv-init: warning: cannot remove \`DIR/..akv-init-*" && in_force
}

deep() {
    memory
    # Not the limit on open files, but that on levels is to end it.
    as=(prlimit --nofile=4096)
    begin
    levels 200
    written "a tree of 200 directories under a temporary name ($now)"
    levels 2000
    write
    check "a tree of 2,000 directories ($now): a warning" goes_on
    rm -rf "$dir/..akv-init-0123456789abcdef"
    written "without it"
}

levels() { # levels NUMBER: of directories, under a temporary name
    mkdir -p "$dir/..akv-init-0123456789abcdef/$(printf 'd/%.0s' $(seq 2 "$1"))"
}

sparse() {
    [ "$state" = empty ] || return 0
    local home=$dir
    memory
    [ "$layout" = plain ] || home=$dir/..data
    as=(prlimit --as=67108864) options=(--keep-existing)
    write
    truncate --size 10G "$home/..akv-init.json"
    azure=("${offline[@]}")
    write
    check "a manifest of 10 GiB is not read ($now)" equal 69 "$code"
    truncate --size 10G "$home/a"
    options=() azure=("${akv[@]}")
    rm "$home/..akv-init.json"
    written "a file of 10 GiB, within 64 MiB of memory"
}

# ---------------------------------------------------------------------------------------------------------------------
# Changes during the fetch
# ---------------------------------------------------------------------------------------------------------------------

part_meanwhile() {
    local gone="cannot write \`DIR\`: the directory does not exist"
    local other="cannot write \`DIR\`: it is not the directory that it was before the secrets were fetched"
    echo "# Changes of the directory during the fetch"
    # shellcheck disable=SC2016 # for eval
    {
        each vanishes "it is removed" 'rm -r "$dir"' 'mkdir "$dir" && state=empty' "$gone" "mount a volume there"
        each vanishes "it is renamed" 'mv "$dir" "$dir.away"' 'mv "$dir.away" "$dir"' "$gone" "mount a volume there"
        each vanishes "it becomes a symbolic link to itself" 'mv "$dir" "$dir.away"; ln -s dir.away "$dir"' \
            'rm "$dir"; mv "$dir.away" "$dir"' "cannot write \`DIR\`: it is a symbolic link, which another user may redirect" \
            "path of the directory itself"
        each vanishes "it becomes a file" 'mv "$dir" "$dir.away"; : >"$dir"' 'rm "$dir"; mv "$dir.away" "$dir"' \
            "cannot write \`DIR\`: it is not a directory"
        each vanishes "it becomes another directory" 'mv "$dir" "$dir.away"; mkdir "$dir"' \
            'rm -r "$dir"; mv "$dir.away" "$dir"' "$other" unmounted
        each vanishes "its volume is mounted read-only" 'mount -o remount,ro "$volume"' \
            'mount -o remount,rw "$volume"' "cannot write \`DIR\`: Read-only file system" readOnly
        each vanishes "a symbolic link comes to c" 'ln -s /etc/passwd "$dir/c"' 'rm "$dir/c"' \
            "cannot write \`DIR/c\`: it is a symbolic link" "remove it"
        each unmounted
    }
}

# vanishes SENTENCE CHANGE UNDO ERROR [HINT...]
vanishes() {
    memory
    begin
    meanwhile "$2"
    check "$1 ($now): 73, and nothing is written anywhere" \
        is_refused_anywhere "$4" "$before" "${@:5}"
    eval "$3"
    written "then"
}

is_refused_anywhere() { # as is_refused, for a listing of the whole volume
    local error=${1//DIR/DIR/dir}
    dir=$volume is_refused "$error" "${@:2}"
}

unmounted() {
    memory
    rmdir "$dir"
    dir=$volume
    begin
    options=(--require-tmpfs)
    # shellcheck disable=SC2016 # for eval
    meanwhile 'umount --lazy "$volume"'
    check "its volume is unmounted lazily ($now): 73, and nothing is written below" is_refused \
        "cannot write \`DIR\`: it is not the directory that it was before the secrets were fetched" "$before" unmounted
    mount -t tmpfs tmpfs "$volume"
    begin
    written "mounted again"
    dir=$volume/dir
}

# ---------------------------------------------------------------------------------------------------------------------
# Missing features
# ---------------------------------------------------------------------------------------------------------------------

part_lacking() {
    local refusal
    echo "# Features that a file system or a sandbox lacks: calls refused by strace"
    for refusal in "EPERM Operation not permitted" "EOPNOTSUPP Operation not supported on transport endpoint"; do
        each no_hard_links "${refusal%% *}"
        each no_symbolic_links "${refusal%% *}" "${refusal#* }"
    done
    each sandbox ENOSYS
    each sandbox EPERM
    each no_locks
}

no_hard_links() { # no_hard_links ERRNO
    memory
    begin
    as=(strace -f -o /dev/null -e "inject=linkat:error=$1")
    written "no hard links, $1 ($now)"
}

no_symbolic_links() { # no_symbolic_links ERRNO TEXT
    [ "$layout" = atomic ] || return 0
    local subject=DIR/a
    memory
    begin
    # The links of the old set stay.
    [ "$state" = empty ] || subject=DIR/c
    as=(strace -f -o /dev/null -e "inject=symlinkat:error=$1")
    refused "no symbolic links, $1 ($now)" "cannot write \`$subject\`: $2" "--layout plain"
    local layout=plain state=empty
    memory
    written "in the plain layout"
}

sandbox() { # sandbox ERRNO
    memory
    chown 65532:65532 "$dir"
    chmod 0700 "$dir"
    owner=("${nobody[@]}")
    begin
    as=("${nobody[@]}" strace -f -o /dev/null -e "inject=openat2,memfd_create,renameat2,statx:error=$1")
    written "without capabilities, without openat2, memfd_create, renameat2 and statx, $1 ($now)"
}

no_locks() {
    memory
    begin
    as=(strace -f -o /dev/null -e "inject=flock:error=ENOLCK")
    write
    check "no locks ($now): it is written, with a warning" is_written "cannot lock \`DIR\`: No locks available"
}

# ---------------------------------------------------------------------------------------------------------------------
# Shares
# ---------------------------------------------------------------------------------------------------------------------

# The user of a table, the modes that its files and its directories get.
user=() modes=(440 750)

part_ignored() {
    loose "chmod is ignored" chmod=ignored files=0777 dirs=0777
    table "chmod is ignored, and files get what was requested" chmod=ignored files=0440 dirs=0750 uid=1000
}

part_refused() {
    loose "chmod is refused" chmod=refused files=0777 dirs=0777
    table "chmod is refused, and files get what was requested" chmod=refused files=0440 dirs=0750 uid=1000
}

part_tight() {
    local warning="in DIR, the file system gives files mode 0400 instead of 0440" modes=(400 700)
    table "files get less than was requested" chmod=ignored files=0400 dirs=0700
}

part_foreign() {
    local user=("${nobody[@]}") modes=(440 770)
    table "all of it belongs to another user" chmod=refused files=0440 dirs=0770 uid=1000 gid=65532
}

part_caseless() {
    table "without case" names=alike
    each one_name A a
    each one_name dir/B dir/b
    each one_name DIR dir DIR/c dir/b
    each one_name Ä ä
    each one_name $'o\u308' ö "" "" "another one"
    each renamed
}

part_unsynced() {
    table "directories cannot be synced" fsyncdir=refused
}

part_unlinked() {
    table "without symbolic links" symlink=refused
    layout=atomic state=empty
    usual
    share symlink=refused
    refused "without symbolic links, atomic" "cannot write \`DIR/a\`: Function not implemented" "--layout plain"
}

# loose SENTENCE SWITCH...: on a share whose files may be read by everybody.
loose() {
    local modes=(777 777)
    local warning="in DIR, the file system gives files mode 0777 instead of 0440" strict=("${akv[@]}")
    local akv=("${akv[@]:0:${#akv[@]}-1}" AKV_INIT_ALLOW_LOOSE_MODE=true "${akv[-1]}")
    local offline=("${offline[@]:0:${#offline[@]}-1}" AKV_INIT_ALLOW_LOOSE_MODE=true "${offline[-1]}")
    table "$1, and files may be read by everybody" "${@:2}"
    each too_loose "$@"
    share "${@:2}"
    run "${offline[@]}" install "$dir"
    check "$1: install warns" equal \
        "0 akv-init: warning: in DIR, the file system gives files mode 0777 instead of 0755" "$code $(mask <<<"$output")"
}

too_loose() { # too_loose SENTENCE SWITCH...
    share "${@:2}"
    begin
    azure=("${strict[@]}")
    refused "$1, without --allow-loose-mode ($now)" \
        "cannot write \`DIR/a\`: the file system gives files mode 0777 instead of 0440" \
        file_mode=0440 umask= --allow-loose-mode
    as=(strace -f -e trace=write -o "$volume.written")
    write
    check "and no secret has been written" equal 0 "$(grep -cF "${big:0:20}" "$volume.written")"
    azure=("${akv[@]}")
    write
    check "but with it" equal 1 "$(grep -cF "${big:0:20}" "$volume.written")"
    as=() azure=("${strict[@]}") options=(--mode 0777)
    write
    check "what it gives may be requested" equal "0 " "$code $(messages)"
}

# one_name NAME OTHER [FILE OTHER-FILE [SHOWN]]: the names differ in case only, or in the form of Unicode.
one_name() {
    local new=(--secret "c=akv://$vault/new-c" --secret "${3:-$1}=akv://$vault/new-a"
        --secret "${4:-$2}=akv://$vault/new-b")
    share names=alike
    begin
    case $layout/$state/$2 in
        # The link of the old set is in the way.
        atomic/old/a | atomic/old/dir)
            refused "$1 and $2 ($now)" "cannot write \`DIR/$1\`: it is a symbolic link" "choose another name"
            ;;
        *)
            refused "$1 and $2 ($now)" \
                "cannot write \`DIR/$2\`: the file system does not distinguish it from ${5:-\`$1\`}" choose
            ;;
    esac
}

# A file is not kept under its old name when it has been overwritten under one that differs in case only.
renamed() {
    [ "$layout/$state" = plain/empty ] || return 0
    local name new=()
    share names=alike
    options=(--keep-existing)
    for name in A=old-a a=new-b A=old-a; do
        new=(--secret "${name%=*}=akv://$vault/${name#*=}")
        write
        azure=("${akv[@]}")
        [ "$name" != a=new-b ] || azure=("${offline[@]}")
    done
    check "a is written over A: without Azure, A is not kept" equal "69 new b" "$code $(cat "$dir/A")"
}

# table SENTENCE SWITCH...: all that `write` does, on a share with these switches.
table() {
    local row
    echo "# A share: $1"
    for row in writes outputs keeps fails interrupted; do
        each on_share "$row" "${@:2}"
    done
}

on_share() { # on_share ROW SWITCH...
    # There, it is refused.
    [ "$layout" = plain ] || [[ " $* " != *" symlink=refused "* ]] || return 0
    file_mode=${modes[0]} directory_mode=${modes[1]} as=("${user[@]}") owner=("${user[@]}")
    share "${@:2}"
    begin
    "$1" "${@:2}"
}

writes() {
    local file=$dir/c
    [ "$layout" = plain ] || file=$dir/..data/c
    written "$now"
    [ -z "${warning:-}" ] ||
        check "with the warning, once" equal 1 "$(grep -c "^akv-init: warning: $warning\$" <<<"$output")"
    unchanged "what has not changed"
    echo changed >"$file"
    written "what has changed"
}

unchanged() { # unchanged SENTENCE: `write` succeeds and changes nothing
    local before
    before=$(listing "$dir")
    write
    check "$1 is not written" is_unchanged "$before"
}

is_unchanged() { # is_unchanged LISTING
    equal "0 " "$code $(messages)" && diff <(cat <<<"$1") <(listing "$dir")
}

outputs() {
    local output name new=(--secret "a=akv://$vault/new-a" --secret "c=akv://$vault/new-c")
    for output in files dotenv:env k8s-env:k8s json:all.json; do
        options+=(--output "$output")
    done
    write
    check "every output ($now)" equal "0 " "$code $(messages)"
    check "files" equal "$big|new c" "$(cat "$dir/a")|$(cat "$dir/c")"
    # shellcheck disable=SC2016 # for another shell
    check "dotenv" equal "$big|new c" "$(sh -c '. "$1" && echo "$a|$c"' sh "$dir/env")"
    check "k8s-env" equal "a='$big' c='new c'" "$(xargs -d '\n' <"$dir/k8s")"
    check "json" equal "$big|new c" "$(jq -r '.a + "|" + .c' "$dir/all.json")"
    for name in a c env k8s all.json; do
        check "the mode of $name" equal "$file_mode" "$(stat --dereference --format %a "$dir/$name")"
    done
    unchanged "what has not changed"
}

keeps() {
    local before
    options=(--keep-existing=1h)
    write
    check "--keep-existing ($now): it is written" equal "0 " "$code $(messages)"
    azure=("${offline[@]}")
    before=$(listing "$dir")
    write
    check "without Azure the files are kept" are_kept "$before"
    local new=("${old[@]}")
    write
    check "but not for other references" equal 69 "$code"
    check "and nothing has changed" diff <(cat <<<"$before") <(listing "$dir")
}

are_kept() { # are_kept LISTING
    equal 0 "$code" && has "$(messages)" "kept the files in \`DIR\`" && in_force &&
        diff <(cat <<<"$1") <(listing "$dir")
}

# A file, or in the atomic layout the link to the new set, cannot be renamed into its place.
fails() {
    local subject=DIR/..data number=1
    case $layout/$state in
        plain/empty) subject=DIR/dir/b number=3 ;;
        plain/old) subject=DIR/dir/b number=2 ;;
    esac
    as+=(strace -f -o /dev/null -e "inject=renameat:error=EIO:when=$number")
    if [ "$layout/$state" = plain/old ] && [ "${#user[@]}" != 0 ]; then
        # Files of another user get no hard link (protected_hardlinks), which rolling back takes.
        write
        check "an error in the middle ($now) names what is new" \
            equal "73 akv-init: error: cannot write \`$subject\`: I/O error; already written: \`a\`" \
            "$code $(messages)"
    else
        refused "an error in the middle ($now)" "cannot write \`$subject\`: I/O error"
    fi
    as=("${user[@]}")
    written "without it"
}

interrupted() { # interrupted SWITCH...
    local point
    for point in fchmod:when=1 fsync:when=1 fsync:when=3 renameat:when=1; do
        share "$@"
        begin
        as+=(strace -f -o /dev/null -e "inject=${point%:*}:signal=KILL:${point#*:}")
        write
        as=("${user[@]}")
        check "killed at $point ($now)" equal 137 "$code"
        check "each file is whole" whole
        written "by the next run"
    done
}

# Each file is one of the old set or of the new one; in the atomic layout, all are of the same set.
whole() {
    local name old_files=(absent absent absent) new_files=("$big" "new b" "new c") found=()
    [ "$state" = empty ] || old_files=("old a" "old b" absent)
    for name in a dir/b c; do
        found+=("$(cat "$dir/$name" 2>/dev/null || echo absent)")
    done
    [ "$layout" = plain ] || [ "${found[*]}" = "${old_files[*]}" ] || equal "${new_files[*]}" "${found[*]}" || return
    for name in 0 1 2; do
        [ "${found[name]}" = "${old_files[name]}" ] || equal "${new_files[name]}" "${found[name]}" || return
    done
}

part_memory() {
    echo "# In memory, and on a disk"
    each in_memory memory
    each in_memory ram
    each on_disk disk
    each on_disk overlay
}

in_memory() { # in_memory VOLUME
    "$1"
    options=(--require-tmpfs)
    begin
    written "--require-tmpfs, $1 ($now)"
}

on_disk() { # on_disk VOLUME
    local error="\`DIR\` is not in memory (tmpfs): secrets there are stored on disk"
    local hint="mount an emptyDir with \`medium: Memory\`, or another tmpfs, there"
    "$1"
    begin
    # The warning about the disk is part of the output.
    kind=tmpfs
    write
    check "a warning, $1 ($now), and nothing else" is_written "$error; $hint"
    options=(--require-tmpfs) azure=("${offline[@]}")
    refused "--require-tmpfs, $1 ($now)" "$error" "$hint"
}

# ---------------------------------------------------------------------------------------------------------------------
# The lock
# ---------------------------------------------------------------------------------------------------------------------

part_lock() {
    echo "# Another process holds the lock"
    each hold for_a_second
    each hold until_a_signal
    each hold renamed_then
}

# waits: starts `write`, which still waits a second later and has changed nothing. Its pid is in $writer.
waits() {
    local before still=
    before=$(listing "$dir")
    "${akv[@]}" write --layout "$layout" "${new[@]}" "$dir" >"$volume.output" 2>&1 &
    writer=$!
    sleep 1
    ! kill -0 "$writer" 2>/dev/null || still=waits
    check "it waits ($now), and changes nothing" \
        diff <(printf '%s\n' waits "$before") <(echo "$still" && listing "$dir")
}

ends() { # its exit code to $code, its output to $output
    code=0
    wait "$writer" || code=$?
    output=$(cat "$volume.output")
}

for_a_second() {
    local writer
    waits
    release
    ends
    check "and writes as soon as the lock is free" is_written
}

renamed_then() {
    local writer before
    waits
    before=$(listing "$dir")
    mv "$dir" "$dir.away"
    release
    ends
    mv "$dir.away" "$dir"
    check "a directory that was renamed meanwhile is not written to: 73" is_refused \
        "cannot write \`DIR\`: the directory does not exist" "$before" "mount a volume there"
}

until_a_signal() {
    local found before stop=(python3 "$repository/tests/namespace/stop.py" "")
    before=$(listing "$dir")
    found=$("${stop[@]}" "${akv[@]}" write --layout "$layout" "${new[@]}" "$dir" | mask)
    check "SIGTERM ends the wait ($now), and the line names it" matches \
        '^143 [0-9.]+ akv-init: error: stopped by SIGTERM after [0-9]+ s, while waiting for the lock of .DIR.( |$)' \
        "$(xargs -d '\n' <<<"$found")"
    check "nothing has changed" diff <(cat <<<"$before") <(listing "$dir")
}

# The timeout is always 30 s: both layouts in parallel.
part_lock_timeout_plain() {
    lock_timeout plain
}

part_lock_timeout_atomic() {
    lock_timeout atomic
}

lock_timeout() {
    local layout=$1 state=old
    usual
    hold refused "the lock is never released ($now)" \
        "cannot write \`DIR\`: another process has held its lock (flock) for 30 s" "is another akv-init stopped"
    written "when it is released"
}

# ---------------------------------------------------------------------------------------------------------------------
# install
# ---------------------------------------------------------------------------------------------------------------------

part_install() {
    local layout=plain state=empty used
    echo "# install"
    usual
    memory size=1m
    not_installed "a full volume" "cannot write \`DIR/akv-init\`: No space left on device" room
    mount -o remount,size=8m "$volume"
    not_installed "a limit on the size of files" "cannot write \`DIR/akv-init\`: File too large" "ulimit -f" \
        prlimit --fsize=1000000
    mount -o remount,ro "$volume"
    not_installed "mounted read-only" "cannot write \`DIR\`: Read-only file system" readOnly
    mount -o remount,rw "$volume"
    not_installed "another user's" "cannot write \`DIR\`: Permission denied" fsGroup "${nobody[@]}"
    ln -s /etc/passwd "$dir/akv-init"
    not_installed "a symbolic link under its name" "cannot write \`DIR/akv-init\`: it is a symbolic link" "remove it"
    rm "$dir/akv-init"
    installed "then"
    installed "once more"
    echo another >>"$dir/akv-init"
    used=$(stat --file-system --format '%b %f %S' "$volume" | awk '{ print ($1 - $2 + 9) * $3 }')
    mount -o "remount,size=$used" "$volume"
    not_installed "another file there, and no room" "cannot write \`DIR/akv-init\`: No space left on device" room
    mount -o remount,size=8m "$volume"
    installed "with room"
}

not_installed() { # not_installed SENTENCE ERROR HINT [WORD...]: the words before the binary
    local before
    before=$(listing "$dir")
    run "${@:4}" "${offline[@]}" install "$dir"
    check "$1: 73, and nothing has changed" is_refused "$2" "$before" "$3"
}

installed() { # installed SENTENCE
    run "${offline[@]}" install "$dir"
    check "$1 it is there, and nothing temporary is left" \
        equal "0  akv-init f 755" "$code $output $(tree "$dir" | xargs)"
    check "it is the same file" cmp "$tmp/akv-init" "$dir/akv-init"
}

# ---------------------------------------------------------------------------------------------------------------------

# The first two take longest, and are printed last.
parts=(lock_timeout_plain lock_timeout_atomic
    ignored refused tight foreign caseless unsynced unlinked
    full limit closed shared planted mounts left meanwhile lacking memory install lock)
declare -A started
for part in "${parts[@]}"; do
    volume=$tmp/mounts/$part dir=$tmp/mounts/$part/dir
    mkdir "$volume"
    "part_$part" >"$tmp/part.$part" 2>&1 9>&- &
    started[$part]=$!
done
for part in "${parts[@]:2}" "${parts[@]::2}"; do
    wait "${started[$part]}" || echo "FAILED  \"$part\" runs to its end" >>"$tmp/part.$part"
    tee -a "$tmp/found" <"$tmp/part.$part"
done
[ -n "$loops" ] || echo "# There are no loop devices: overlays on a tmpfs replaced disks, and strace a quota"
total "$tmp/found"
