#!/usr/bin/env bash
# Builds the agent as it is shipped, and says how large it is.
#
#   cross/build.sh [--all | TARGET..]
#
#   TARGET   a target as rustc names it; the two that are shipped when none is named
#   --all    every target of cross/common.sh
#
# The binaries are left at target/TARGET/release/outpost.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. cross/common.sh

main() {
    local targets=() target
    read_targets "$@"
    cross/toolchain.sh "${targets[@]}"
    . "$environment"
    for target in "${targets[@]}"; do
        cargo build --quiet --release --locked -p outpost --target "$target"
    done
    printf '\n%-32s %12s %12s\n' target bytes gzip
    for target in "${targets[@]}"; do
        local file=${CARGO_TARGET_DIR:-target}/$target/release/outpost
        printf '%-32s %12d %12d\n' "$target" "$(wc -c <"$file")" "$(gzip -9 <"$file" | wc -c)"
    done
}

main "$@"
