# shellcheck shell=bash disable=SC2154 # variables: see deploy/static/build
# Libraries for the target: Debian's archives, and libzmq and libpcap from Debian's sources. Sourced.

# All that the libraries depend on, as one sum.
libraries_sum() {
    cat "$work/pinned" "$here/lib/libraries.sh" <(printf '%s\n' "${compile_library[@]}" "${link[@]}") \
        <("$triplet-gcc" --version) | sha256sum
}

libraries_changed() {
    [[ $(cat "$work/libraries" 2>/dev/null) != "$(libraries_sum)" ]]
}

libraries_done() {
    libraries_sum >"$work/libraries"
}

unpack() {
    local what path file
    rm -rf -- "$work/libraries" "$root" "$work"/{libc,source,files,copyright}
    mkdir -p "$root" "$work"/{libc,source,files,copyright}
    while read -r what _ _ _ path; do
        file=$here/out/cache/$(pin_file "$path")
        case $path in
        *.dsc) dpkg-source --no-check -x "$file" "$work/source/$what" ;;
        */libc6-dev_*) unpack_deb "$what" "$file" "$work/libc" ;;
        *.deb) unpack_deb "$what" "$file" "$root" ;;
        esac
    done <"$work/pinned"
    # Nothing but archives and start files of libc: its headers are the compiler's business.
    find "$work/libc" -name '*.so' -delete
    if [[ $(head -c 2 "$libc/libm.a") == '/*' ]]; then
        sed -i "s|/usr/lib/$triplet|$libc|g" "$libc/libm.a"
    fi
    # Some name another directory than the one Debian put the library into.
    sed -i "s|^libdir=.*|libdir=/usr/lib/$triplet|" "$PKG_CONFIG_LIBDIR"/*.pc
}

# unpack_deb NAME FILE DIR: into DIR; which files it holds and its licence go beside.
unpack_deb() {
    dpkg-deb -x "$2" "$3"
    dpkg-deb --fsys-tarfile "$2" | tar -t | sed -n 's|^\./\(.*[^/]\)$|\1|p' >"$work/files/$1"
    # shellcheck disable=SC2016 # dpkg's own format
    dpkg-deb -W --showformat='${source:Package} ${source:Version}\n' "$2" >"$work/files/$1.source"
    cp "$3/usr/share/doc/$1/copyright" "$work/copyright/$1"
}

libzmq() {
    local options=() name missing=0 build=$work/zeromq3
    # libzmq tries its checks by running them: under the emulator, when it isn't for this machine.
    # CMAKE_SYSTEM_NAME is not set: then it would skip them and do without keepalive and CLOEXEC.
    ((${#run[@]} == 0)) || options=("-DCMAKE_CROSSCOMPILING_EMULATOR=${run[0]}")
    rm -rf -- "$build"
    cmake -S "$work/source/zeromq3" -B "$build" -G Ninja "${options[@]}" \
        -DCMAKE_C_COMPILER="$triplet-gcc" -DCMAKE_CXX_COMPILER="$triplet-g++" \
        -DCMAKE_AR="/usr/bin/$triplet-gcc-ar" -DCMAKE_RANLIB="/usr/bin/$triplet-gcc-ranlib" \
        -DCMAKE_C_FLAGS="-Os ${compile_library[*]}" -DCMAKE_CXX_FLAGS="-Os ${compile_library[*]}" \
        -DCMAKE_EXE_LINKER_FLAGS="${link[*]}" -DCMAKE_BUILD_TYPE=None \
        -DCMAKE_EXPORT_NO_PACKAGE_REGISTRY=ON \
        -DCMAKE_INSTALL_PREFIX=/usr -DCMAKE_INSTALL_LIBDIR="lib/$triplet" \
        -DBUILD_STATIC=ON -DBUILD_SHARED=OFF -DBUILD_TESTS=OFF -DENABLE_CPACK=OFF \
        -DENABLE_PRECOMPILED=OFF -DWITH_PERF_TOOL=OFF -DWITH_DOC=OFF -DWITH_DOCS=OFF \
        -DENABLE_CURVE=ON -DWITH_LIBSODIUM=ON -DENABLE_DRAFTS=OFF -DENABLE_WS=OFF -DWITH_TLS=OFF \
        -DWITH_LIBBSD=OFF -DWITH_NORM=OFF -DWITH_OPENPGM=OFF -DWITH_VMCI=OFF -DWITH_GSSAPI_KRB5=OFF
    for name in ZMQ_HAVE_CURVE ZMQ_USE_LIBSODIUM ZMQ_IOTHREAD_POLLER_USE_EPOLL \
        ZMQ_HAVE_EVENTFD_CLOEXEC ZMQ_HAVE_SOCK_CLOEXEC ZMQ_HAVE_O_CLOEXEC ZMQ_HAVE_SO_KEEPALIVE \
        ZMQ_HAVE_TCP_KEEPCNT ZMQ_HAVE_TCP_KEEPIDLE ZMQ_HAVE_TCP_KEEPINTVL; do
        if ! grep -qE "^#define $name\b" "$build/platform.hpp"; then
            say "libzmq would be built without $name"
            missing=1
        fi
    done
    ((missing == 0))
    ninja -C "$build" -j "$jobs"
    DESTDIR=$root ninja -C "$build" install
    sed -i "s|^libdir=.*|libdir=/usr/lib/$triplet|" "$PKG_CONFIG_LIBDIR/libzmq.pc"
    cp "$work/source/zeromq3/debian/copyright" "$work/copyright/zeromq3"
}

libpcap() {
    local build=$work/libpcap
    rm -rf -- "$build"
    mkdir "$build"
    cd "$build" || return
    CC=$triplet-gcc AR=$triplet-gcc-ar RANLIB=$triplet-gcc-ranlib CFLAGS="-O2 ${compile_library[*]}" \
        LDFLAGS="${link[*]}" "$work/source/libpcap/configure" --host="$triplet" --prefix=/usr \
        --libdir="/usr/lib/$triplet" --with-pcap=linux --disable-shared --disable-dbus \
        --disable-rdma --disable-usb --disable-bluetooth --disable-netmap --without-libnl \
        --without-dag --without-septel --without-snf --without-turbocap --without-dpdk
    make -j "$jobs" libpcap.a
    make DESTDIR="$root" install
    cp "$work/source/libpcap/debian/copyright" "$work/copyright/libpcap"
}
