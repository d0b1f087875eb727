#!/usr/bin/env bash
# Installs what it takes to build and test the agent for other processors, without docker and without root.
#
#   cross/toolchain.sh [--all | TARGET..]
#
#   TARGET   a target as rustc names it; the two that are shipped when none is named
#   --all    every target of cross/common.sh
#
# What it installs lies in ~/.cache/outpost-cross (XDG_CACHE_HOME is honoured), for all checkouts of this user. What is
# there is used as it is: a second run takes a second, and one that was interrupted goes on. It ends by writing
# .outpost/cross.env, after which ordinary cargo builds and runs:
#
#   . .outpost/cross.env
#   cargo test --target armv7-unknown-linux-musleabihf -p codec
#
# From where: Debian's packages through this machine's own mirror (the emulator; the sources of the standard library),
# PyPI (zig: the C compiler, the linker and musl), crates.io (what the standard library depends on).

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. cross/common.sh

# Raise it when something is built in another way: the cache is shared with other checkouts.
layout=2
# Its musl is 1.2.5, as is that of Rust's own targets.
zig_version=0.13.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/outpost-cross/$layout
zig=$cache/zig-$zig_version/ziglang/zig

main() {
    local targets=()
    read_targets "$@"
    [[ $cache != *[[:space:]]* ]] || refuse "cargo takes no blanks in a path of its flags: set XDG_CACHE_HOME"
    mkdir -p "$cache/bin" .outpost
    # Two checkouts that build at the same time, such as two runs of scripts/test.
    exec 9>"$cache/lock"
    flock 9
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT

    install_zig
    install_emulator
    choose_compiler "${targets[@]}"
    local target
    for target in "${targets[@]}"; do
        install_compiler_of "$target"
        has_std "$target" || install_std "$target"
    done
    write_environment
    echo "ready: . $environment"
}

install_zig() {
    [ ! -x "$zig" ] || return 0
    note "zig $zig_version from PyPI: C compiler, linker, musl"
    install_pip
    # --target: nothing of the machine's own python changes.
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --no-compile \
        --target "$work/zig" "ziglang==$zig_version"
    mv -T "$work/zig" "$cache/zig-$zig_version"
}

install_pip() {
    ! python3 -m pip --version >/dev/null 2>&1 || return 0
    [ "$(id -u)" -eq 0 ] || refuse "python3 with pip is missing: have the package python3-pip installed"
    note "pip is missing: installing the package python3-pip"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends python3-pip >/dev/null
}

# An emulator older than 11 lacks calls that serial ports need; that of Debian 12 is 7.2.
install_emulator() {
    [ ! -x "$cache/qemu/qemu-arm" ] || return 0
    note "qemu-user from Debian's packages"
    unpack_package qemu-user/trixie-backports
    mkdir "$work/qemu"
    mv "$work"/package/usr/bin/qemu-{aarch64,arm} "$work/qemu"
    rm -r "$work/package"
    mv -T "$work/qemu" "$cache/qemu"
}

# choose_compiler TARGET..: sets `rustc`, its `release`, and `sysroot`, where what is built for it goes. A standard library
# can only be built by the compiler of its own release, so where Debian has no sources of this one, it is Debian's.
choose_compiler() {
    local target
    use_compiler "$(rustup which rustc 2>/dev/null || command -v rustc)"
    for target; do has_std "$target" || break; done
    if has_std "$target" || [ -d "$sysroot/src/library" ] || version_of rust-src "$release+" >/dev/null; then return; fi
    note "Debian has no sources of rustc $release: taking its own rustc, for builds of this machine too"
    [ -d "$cache/rustc-web" ] || install_debian_compiler
    use_compiler "$cache/bin/rustc-web"
}

use_compiler() {
    rustc=$1
    [ -n "$rustc" ] || refuse "rustc is missing: see https://rustup.rs"
    release=$("$rustc" --version --verbose | sed -n 's/^release: //p')
    sysroot=$cache/rust-$release-small
}

install_debian_compiler() {
    local package suite=bookworm-security folder=$cache/rustc-web
    update_lists
    for package in rustc-web libstd-rust-web-dev rust-web-src $(private_apt apt-cache depends --recurse rustc-web |
        grep -oE '^(libstd-rust-web-[0-9.]+|libllvm[0-9]+)$' | sort -u); do
        unpack_package "$package/$suite"
    done
    wrapper rustc-web <<EOF
export LD_LIBRARY_PATH=$folder/usr/lib/x86_64-linux-gnu:\$(echo $folder/usr/lib/llvm-*/lib)
exec $folder/usr/bin/rustc "\$@"
EOF
    mv -T "$work/package" "$folder"
}

# Whether rustc finds the target's standard library: in its own folder (`rustup target add`), or in ours.
has_std() {
    is_in_toolchain "$1" || [ -e "$sysroot/lib/rustlib/$1/done" ]
}

is_in_toolchain() {
    compgen -G "$("$rustc" --print sysroot)/lib/rustlib/$1/lib/libstd-*.rlib" >/dev/null
}

# The C compiler of the target, for ring; and the linker of all.
install_compiler_of() {
    wrapper "$1-cc" <<EOF
# cc names the target and the processor in words that zig does not know.
for argument; do
    shift
    case \$argument in
    --target=* | -march=* | -mfpu=* | -mfloat-abi=*) ;;
    *) set -- "\$@" "\$argument" ;;
    esac
done
exec $zig cc $(zig_target "$1") "\$@"
EOF
    wrapper ar <<<"exec $zig ar \"\$@\""
    wrapper ld.lld <<EOF
# rustc says which linker it takes this for; the name says it already.
if [ "\$1" = -flavor ]; then shift 2; fi
exec $zig ld.lld "\$@"
EOF
}

# wrapper NAME < BODY: makes $cache/bin/NAME.
wrapper() {
    {
        printf '#!/bin/sh\nexport ZIG_GLOBAL_CACHE_DIR=%s ZIG_LOCAL_CACHE_DIR=%s\n' "$cache/zig-cache" "$cache/zig-cache"
        cat
    } >"$work/wrapper"
    chmod +x "$work/wrapper"
    mv "$work/wrapper" "$cache/bin/$1"
}

install_std() {
    local target=$1 folder=$work/std/lib begin=$SECONDS
    install_sources
    note "the standard library of rustc $release for $target"
    mkdir -p "$folder/self-contained" "$sysroot/lib/rustlib"
    build_std "$target"
    case $target in *-musl*) build_musl "$target" "$folder/self-contained" ;; esac
    touch "$work/std/done"
    rm -rf "$sysroot/lib/rustlib/$target"
    mv -T "$work/std" "$sysroot/lib/rustlib/$target"
    note "took $((SECONDS - begin)) s"
}

# The library's workspace builds on a stable compiler of its own release, and on no other; its profile `dist` is what
# Rust ships. It is built without backtraces: their reader of debug information is a tenth of the agent, which is stripped. And it is
# built for size, as the agent is: that is a twentieth of it.
build_std() {
    local name=${1^^}
    env RUSTC="$rustc" RUSTC_BOOTSTRAP=1 __CARGO_DEFAULT_LIB_METADATA=outpost CARGO_INCREMENTAL=0 CARGO_PROFILE_DIST_OPT_LEVEL=z \
        "CARGO_TARGET_${name//-/_}_LINKER=$cache/bin/$1-cc" \
        RUSTFLAGS="-Zforce-unstable-if-unmarked -Cdebuginfo=0 --remap-path-prefix=$sysroot/src=/rustc/$release" \
        cargo rustc --quiet --locked --manifest-path "$sysroot/src/library/sysroot/Cargo.toml" --lib --crate-type rlib \
        --profile dist --target "$1" --features panic-unwind,optimize_for_size --target-dir "$work/target"
    rm -f "$work/target/$1"/dist/deps/libsysroot-*.rlib
    mv "$work/target/$1"/dist/deps/*.rlib "$work/std/lib"
    rm -rf "$work/target/$1"
}

install_sources() {
    [ ! -d "$sysroot/src/library" ] || return 0
    mkdir -p "$sysroot/src" "$sysroot/lib/rustlib"
    if [ "$rustc" = "$cache/bin/rustc-web" ]; then
        cp -r "$cache/rustc-web/usr/src/rustc-$release/library" "$work/library"
    else
        note "the sources of rustc $release from Debian's packages"
        unpack_package "rust-src=$(version_of rust-src "$release+")"
        mv "$work/package/usr/src/rustc-$release/library" "$work/library"
        rm -r "$work/package"
    fi
    mv -T "$work/library" "$sysroot/src/library"
    # rustc looks for its own tools below the folder that it is told to find the target in.
    ln -sfn "$("$rustc" --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu" "$sysroot/lib/rustlib/"
}

# What Rust's musl targets carry: the C library, the unwinder, and what runs before `main`. zig compiles them when it
# links something, and says where it put them.
build_musl() {
    local folder=$2 compiler=$cache/bin/$1-cc link=(-static) start=crt1.o name
    # rustc links this one alone position-independent.
    case $1 in x86_64-*) link+=(-pie) start=rcrt1.o ;; esac
    echo 'int main(void) { return 0; }' >"$work/main.c"
    "$compiler" "${link[@]}" "$work/main.c" -lunwind -v -o "$work/main" 2>"$work/zig.log"
    for name in libc.a libunwind.a $start; do
        cp "$(tr ' ' '\n' <"$work/zig.log" | grep "/$name\$" | tail -n 1)" "$folder/"
    done
    # musl needs nothing of these, but rustc names them to the linker.
    for name in crti crtn crtbegin crtbeginS crtend crtendS; do
        "$compiler" -c -x c /dev/null -o "$folder/$name.o"
    done
}

write_environment() {
    {
        echo "# Written by cross/toolchain.sh: how cargo builds, links and runs for other processors on this machine."
        # Cargo's own choice, unless it had to be another.
        if [ "$rustc" = "$cache/bin/rustc-web" ]; then echo "export RUSTC=$rustc"; fi
        local target
        for target in "${all_targets[@]}"; do
            if [ -x "$cache/bin/$target-cc" ] && has_std "$target"; then environment_of "$target"; fi
        done
    } >"$work/environment"
    mv "$work/environment" "$environment"
}

environment_of() {
    local name=${1//-/_} linker=$cache/bin/$1-cc runner flags
    local cargo=CARGO_TARGET_${name^^}
    case $1 in *-musl*) linker=$cache/bin/ld.lld ;; esac
    echo "export ${cargo}_LINKER=$linker CC_$name=$cache/bin/$1-cc AR_$name=$cache/bin/ar"
    flags=$(rust_flags "$1")
    is_in_toolchain "$1" || flags+=" --sysroot=$sysroot"
    [ -z "$flags" ] || echo "export ${cargo}_RUSTFLAGS='$flags' ${cargo}_RUSTDOCFLAGS='$flags'"
    runner=$(emulator "$1")
    [ -z "$runner" ] || echo "export ${cargo}_RUNNER='$cache/qemu/$runner'"
}

# version_of PACKAGE PREFIX: the newest version with this beginning that Debian has. Fails when there is none.
version_of() {
    update_lists
    private_apt apt-cache madison "$1" | awk -v prefix="$2" 'index($3, prefix) == 1 && !found { print $3; found = 1 } END { exit !found }'
}

# unpack_package NAME[=VERSION | /SUITE]: into $work/package, beside what is there.
unpack_package() {
    update_lists
    mkdir "$work/archive"
    (cd "$work/archive" && private_apt apt-get -qq download "$1")
    dpkg -x "$work/archive"/*.deb "$work/package"
    rm -r "$work/archive"
}

# An apt of our own: releases that this machine does not follow, nothing installed, no root.
private_apt() {
    "$1" -o Dir::Etc::SourceList="$work/apt/sources" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$work/apt/lists" \
        -o Dir::Cache="$work/apt" -o APT::Sandbox::User=root "${@:2}"
}

update_lists() {
    [ ! -e "$work/apt" ] || return 0
    local mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(apt-get indextargets --format '$(SITE)' 2>/dev/null | grep '/debian$' | tail -n 1) ||
        refuse "apt knows no mirror of Debian; with 'rustup target add' and qemu-user 11 nothing of it is needed"
    mkdir -p "$work"/apt/{lists,archives}/partial
    printf "deb [signed-by=$keys arch=amd64] %s main\n" "$mirror trixie-backports" "$mirror sid" \
        "$mirror-security bookworm-security" >"$work/apt/sources"
    private_apt apt-get -qq update
}

main "$@"
