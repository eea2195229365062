#!/bin/bash
# Runs the image of a release on both architectures, aarch64 by emulation, and reads its labels with skopeo.
#
#   AKV_INIT_TEST_IMAGE=target/dist/akv-init-image.tar AKV_INIT_TEST_BINARY=target/dist/akv-init-x86_64-unknown-linux-musl \
#     tests/image.sh
#
# Needs root, podman with runc, skopeo, jq, gcc-aarch64-linux-gnu, what .ci/emulate sets up, and the programs that
# tests/container/common.sh asks for. Every check prints a sentence; the exit code is 0 if and only if all of them hold.

set -euo pipefail
AKV_INIT_TEST_IMAGE=$(realpath -e "$AKV_INIT_TEST_IMAGE")
export AKV_INIT_TEST_IMAGE
# shellcheck source=tests/container/common.sh
source "$(dirname "$0")/container/common.sh"

archive=oci-archive:$AKV_INIT_TEST_IMAGE
commit=${AKV_INIT_COMMIT:-$(git -C "$repository" rev-parse HEAD)}
version=$(sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' "$repository/Cargo.toml")
secret="secret-$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')"
start_azure --secret "sql-sa-password=$secret"

check "the image is an index of both architectures" equal "linux/amd64 linux/arm64" \
    "$(skopeo inspect --raw "$archive" | jq -r '[.manifests[].platform | "\(.os)/\(.architecture)"] | sort | join(" ")')"
attempt podman load --quiet --input "$AKV_INIT_TEST_IMAGE"
check "podman load gives it its name" equal "0 Loaded image: localhost/akv-init:$version" "$code $output"
for architecture in amd64 arm64; do
    podman pull --quiet --arch "$architecture" "$archive" >/dev/null
done
podman manifest create akv-init >/dev/null
podman manifest add --all akv-init "$archive" >/dev/null
printf 'FROM scratch\nCOPY --from=akv-init /akv-init /\nENTRYPOINT ["/akv-init"]\n' >"$tmp/Dockerfile"
for pair in "amd64 x86_64" "arm64 aarch64"; do
    read -r architecture machine <<<"$pair"
    build "$tmp/Dockerfile" "$tmp" "copy:$architecture" --platform "linux/$architecture"
    attempt podman run --rm --network none --platform "linux/$architecture" "localhost/copy:$architecture" --version
    check "COPY --from=akv-init takes the file for $architecture from podman's manifest" has "$code $output" ", $machine-"
done
podman manifest rm akv-init >/dev/null
for pair in "amd64 x86_64" "arm64 aarch64"; do
    read -r architecture machine <<<"$pair"
    echo "# $architecture"
    config=$(skopeo inspect --config --override-arch "$architecture" "$archive")
    label() {
        jq -r --arg name "org.opencontainers.image.$1" '.config.Labels[$name]' <<<"$config"
    }
    check "its labels name the version, the commit and the licences" equal "$version $commit MIT OR Apache-2.0" \
        "$(label version) $(label revision) $(label licenses)"
    check "and the repository, if that is known" equal "${AKV_INIT_SOURCE:-null}" "$(label source)"
    check "it runs as a user that is not root" equal 65532:65532 "$(jq -r .config.User <<<"$config")"
    check "it starts akv-init" equal '["/akv-init"]' "$(jq -c .config.Entrypoint <<<"$config")"

    podman pull --quiet --arch "$architecture" "$archive" >"$tmp/id" 2>"$tmp/pull.log" || cannot "$(cat "$tmp/pull.log")"
    podman tag "$(cat "$tmp/id")" localhost/akv-init
    image=$(podman image mount localhost/akv-init)
    check "it holds one file, /akv-init" equal ./akv-init "$(cd "$image" && find . -mindepth 1)"
    check "everybody may execute it and only root may change it" equal "755 0:0" \
        "$(stat -c '%a %u:%g' "$image/akv-init")"
    attempt podman run --rm --network none --read-only --cap-drop all --security-opt no-new-privileges \
        --arch "$architecture" localhost/akv-init --version
    check "it prints its version and target" has "$code $output" "0 akv-init $version (commit ${commit:0:12}, $machine-"

    mkdir "$tmp/$architecture"
    "$machine-linux-gnu-gcc" -O1 -static -o "$tmp/$architecture/tiny" "$ours/tiny.c"
    build "$ours/Dockerfile.tiny" "$tmp/$architecture" tiny --arch "$architecture"
    attempt podman run --rm --network "ns:$net" --read-only --cap-drop all --security-opt no-new-privileges \
        --arch "$architecture" --volume "$tmp/azure/ca.pem:/ca.pem:ro" --env SSL_CERT_FILE=/ca.pem \
        --env SECRET=akv://kv1/sql-sa-password localhost/tiny /tiny SECRET
    check "it fetches a secret and becomes the program as process 1" \
        equal "0 pid 1 uid 65532 gid 65532 SECRET=$secret" "$code $output"
    podman image unmount localhost/akv-init >/dev/null
done

total
