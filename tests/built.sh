# shellcheck shell=bash
# Sourced by scripts in the folder of the project that define `cannot`. Builds the fake Azure, into $built/examples, and
# leaves in $binary the akv-init to test: AKV_INIT_TEST_BINARY, or without that the one that cargo builds.
cargo build --quiet --example standin || cannot "the fake Azure does not build"
built=$(realpath "${CARGO_TARGET_DIR:-target}")/debug
if [ -n "${AKV_INIT_TEST_BINARY:-}" ]; then
    binary=$(realpath -e "$AKV_INIT_TEST_BINARY") || cannot "there is no $AKV_INIT_TEST_BINARY"
else
    cargo build --quiet || cannot "akv-init does not build"
    # shellcheck disable=SC2034 # for the script that sources this
    binary=$built/akv-init
fi
