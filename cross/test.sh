#!/usr/bin/env bash
# Tests the agent as the code of another processor, under emulation.
#
#   cross/test.sh [--core] TARGET..
#
#   TARGET   a target as rustc names it: armv7-unknown-linux-musleabihf
#   --core   the crates alone whose bytes leave the gateway, and the guarded read
#
# What it shows, in this order:
#   a panic inside the journal's guarded read is caught in the profile that is shipped;
#   the tests of the agent's crates pass, but those that need a socket option that the emulator lacks;
#   a simulated world leaves the same trace, byte for byte sent and written, as on this machine;
#   the static binary, started in turn here and in emulation on one journal, is killed, resumes and loses nothing.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. cross/common.sh

core=(codec wire journal link)
others=(detect disk query hal identity agent outpost sim)
world_count=3
# What asks the kernel for options of sockets that qemu does not pass on: a device to be bound to, the path's MTU, the counters of TCP.
unknown_to_qemu=(
    a_socket_is_bound_to_an_address_where_it_cannot_be_to_a_device
    a_connection_is_bound_to_its_interface_or_says_that_it_is_not
    a_datagram_that_does_not_fit_the_path_is_refused
    datagrams_of_both_families_are_kept_whole
    a_real_connection_is_counted
)

main() {
    local targets=() is_core=no target
    if [ "${1-}" = --core ]; then is_core=yes && shift; fi
    [ $# -gt 0 ] || refuse "name a target, as in $0 armv7-unknown-linux-musleabihf"
    read_targets "$@"
    cross/toolchain.sh "${targets[@]}"
    . "$environment"
    for target in "${targets[@]}"; do
        say "$target: a panic in the guarded read, release profile"
        cargo test --quiet --release --locked --target "$target" -p journal --lib guard
        say "$target: tests of ${core[*]}"
        test_crates "$target" "${core[@]}"
        [ $is_core = no ] || continue
        say "$target: tests of ${others[*]}"
        test_crates "$target" "${others[@]}"
        say "$target: simulated worlds"
        compare_worlds "$target"
        say "$target: the binary, killed and started in turn here and in emulation"
        test_binary "$target"
    done
}

# test_crates TARGET CRATE..
test_crates() {
    local target=$1
    shift
    cargo test --quiet --locked --no-fail-fast --lib --bins --target "$target" $(printf -- '-p %s ' "$@") \
        -- $(printf -- '--skip %s ' "${unknown_to_qemu[@]}")
}

# A trace is a hash over every byte sent and written, so golden bytes need no files. Both are built in one profile: redb's
# bytes differ with debug assertions.
compare_worlds() {
    local seed here there
    for ((seed = 0; seed < world_count; seed++)); do
        here=$(cargo run --quiet --locked -p sim -- --seeds 1 --first $seed)
        there=$(cargo run --quiet --locked --target "$1" -p sim -- --seeds 1 --first $seed)
        printf '%s\n' "$there"
        [ "$here" = "$there" ] || refuse "world $seed is another on this machine: $here"
    done
}

# The process tests run whatever they find in a folder: here an agent that begins each run on the other processor.
test_binary() {
    local folder=$PWD/.outpost/cross-bin/$1 quick=$PWD/${CARGO_TARGET_DIR:-target}/quick
    cargo build --quiet --locked --profile quick -p outpost -p outpost-hub
    cargo build --quiet --locked --release -p outpost --target "$1"
    mkdir -p "$folder"
    ln -sf "$quick/outpost-hub" "$folder/outpost-hub"
    write_agent "$folder/outpost" "$quick/outpost" "$(runner "$1") $PWD/target/$1/release/outpost"
    OUTPOST_BIN_DIR=$folder cargo test --quiet --locked -p tests process::kill
}

# The command that runs a binary of the target, as the environment file has it.
runner() {
    local name=CARGO_TARGET_${1//-/_}_RUNNER
    name=${name^^}
    echo "${!name-}"
}

# write_agent FILE HERE THERE: a command that runs one of the two in turn. The count of starts lies beside the folder that
# the agent is told to use, so that each agent has its own.
write_agent() {
    cat >"$1" <<EOF
#!/bin/sh
# outpost --dir FOLDER COMMAND..
count=\$(cat "\$2.starts" 2>/dev/null || echo 0)
if [ "\$3" = run ]; then echo \$((count + 1)) >"\$2.starts"; fi
if [ \$((count % 2)) = 0 ]; then exec $3 "\$@"; else exec $2 "\$@"; fi
EOF
    chmod +x "$1"
}

say() {
    printf '\n-- %s\n' "$1"
}

main "$@"
