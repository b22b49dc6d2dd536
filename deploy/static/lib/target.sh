# shellcheck shell=bash disable=SC2034,SC2154 # variables: see deploy/static/build
# What differs between architectures, and the compiler's options. Sourced.

target_set() {
    local harden=(-fstack-protector-strong -fstack-clash-protection -D_FORTIFY_SOURCE=2)
    case $arch in
    amd64)
        triplet=x86_64-linux-gnu cpu=x86_64
        harden+=(-fcf-protection=full)
        ;;
    arm64)
        triplet=aarch64-linux-gnu cpu=aarch64
        harden+=(-mbranch-protection=standard)
        ;;
    esac
    package_lists=("$here/packages/native")
    run=()
    if [[ $(dpkg --print-architecture) != "$arch" ]]; then
        package_lists+=("$here/packages/cross-$arch")
        run=("qemu-$cpu")
    fi
    root=$work/root
    libc=$work/libc/usr/lib/$triplet
    compile=(
        -fPIE -ffunction-sections -fdata-sections
        # No path of this machine in the program. The last that fits counts.
        "-ffile-prefix-map=$top=hirundo" "-ffile-prefix-map=$work=work"
        "-ffile-prefix-map=$(realpath -m --relative-to="$work/build" "$top")=hirundo"
        # As the system's headers: their macros are not ours to warn of.
        "-isystem" "$root/usr/include"
        # Linker's options here as well: configure and cmake link what they try.
        -static-pie "-B$libc/" "-L$libc"
    )
    link=(-static-pie "-B$libc/" "-L$libc" "-L$root/usr/lib/$triplet" "-Wl,--gc-sections"
        "-Wl,--build-id=none" "-Wl,-z,relro" "-Wl,-z,now" "-Wl,-z,noexecstack")
    # Relative relocations, packed, are 0.2 MB less. This linker does that for x86 only.
    [[ $arch != amd64 ]] || link+=("-Wl,-z,pack-relative-relocs")
    compile_library=("${compile[@]}" "${harden[@]}")
    jobs=$(nproc)

    SOURCE_DATE_EPOCH=$(date -u -d "$(pins_date)" +%s)
    export SOURCE_DATE_EPOCH
    export PKG_CONFIG_LIBDIR=$root/usr/lib/$triplet/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
}

# meson_list WORD...: as a list in meson's language.
meson_list() {
    local list
    list=$(printf "'%s', " "$@")
    printf '[%s]' "${list%, }"
}

meson_cross_file() {
    local wrapper=
    ((${#run[@]} == 0)) || wrapper="exe_wrapper = $(meson_list "${run[@]}")"
    cat <<END
[binaries]
c = '$triplet-gcc'
ar = '$triplet-gcc-ar'
strip = '$triplet-strip'
pkgconfig = 'pkg-config'
$wrapper
[properties]
sys_root = '$root'
pkg_config_libdir = '$PKG_CONFIG_LIBDIR'
[built-in options]
c_args = $(meson_list "${compile[@]}")
c_link_args = $(meson_list "${link[@]}" "-Wl,-Map=$work/map")
[host_machine]
system = 'linux'
cpu_family = '$cpu'
cpu = '$cpu'
endian = 'little'
END
}
