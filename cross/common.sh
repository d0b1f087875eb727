# What the scripts of this folder share; they read it with `.` from the root of the checkout.

# The targets, in the order in which `cross/toolchain.sh` and `cross/build.sh` take them when none is named.
shipped_targets=(aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf)
all_targets=(
    "${shipped_targets[@]}"
    arm-unknown-linux-musleabihf
    x86_64-unknown-linux-musl
    aarch64-unknown-linux-gnu
    armv7-unknown-linux-gnueabihf
    arm-unknown-linux-gnueabihf
)

# Linkers, compilers and runners as cargo's environment variables: toolchain.sh writes it, whoever builds reads it.
environment=.outpost/cross.env

# The processor of each target as zig names it. The words of rustc's own target, so that C and Rust agree.
zig_target() {
    case $1 in
    aarch64-unknown-linux-musl) echo "-target aarch64-linux-musl" ;;
    armv7-unknown-linux-musleabihf) echo "-target arm-linux-musleabihf -mcpu=generic+v7a+vfp3d16" ;;
    arm-unknown-linux-musleabihf) echo "-target arm-linux-musleabihf -mcpu=generic+v6+strict_align+vfp2-d32" ;;
    x86_64-unknown-linux-musl) echo "-target x86_64-linux-musl" ;;
    # The glibc of Debian 10, of which most vendors' images of today are made.
    aarch64-unknown-linux-gnu) echo "-target aarch64-linux-gnu.2.28" ;;
    armv7-unknown-linux-gnueabihf) echo "-target arm-linux-gnueabihf.2.28 -mcpu=generic+v7a+vfp3d16" ;;
    arm-unknown-linux-gnueabihf) echo "-target arm-linux-gnueabihf.2.28 -mcpu=generic+v6+strict_align+vfp2-d32" ;;
    *) refuse "unknown target $1; known are: ${all_targets[*]}" ;;
    esac
}

# What rustc is told beside the target.
rust_flags() {
    local flags=()
    case $1 in
    # Thumb-2, which every ARMv7 runs: the agent is a quarter smaller. rustc warns that the name of this switch is not settled.
    armv7-*) flags+=(-Ctarget-feature=+thumb-mode) ;;
    # LLVM moves what two functions share into a third, and does not count the 30 bytes that the unwinder needs of each.
    aarch64-*) flags+=(-Cllvm-args=-outliner-benefit-threshold=40) ;;
    esac
    # Functions with the same instructions are kept once.
    case $1 in *-musl*) flags+=(-Clink-arg=--icf=all) ;; esac
    echo "${flags[*]}"
}

# The emulator of each target and the oldest processor that it must run on; nothing where this machine is one.
emulator() {
    case $1 in
    aarch64-*) echo "qemu-aarch64 -cpu cortex-a53" ;;
    armv7-*) echo "qemu-arm -cpu cortex-a7" ;;
    arm-*) echo "qemu-arm -cpu arm1176" ;;
    esac
}

# read_targets ARGUMENT..: sets `targets`, which the caller has made.
read_targets() {
    case ${1-} in
    --help | -h) help && exit 0 ;;
    --all) targets=("${all_targets[@]}") ;;
    "") targets=("${shipped_targets[@]}") ;;
    *) targets=("$@") ;;
    esac
    local target
    for target in "${targets[@]}"; do zig_target "$target" >/dev/null; done
}

refuse() {
    printf '%s: %s\n' "$0" "$1" >&2
    exit 2
}

note() {
    printf '   %s\n' "$1"
}

# The comment at the top of a script is its help.
help() {
    sed -n '2,/^$/ s/^# \{0,1\}//p' "$0"
}
