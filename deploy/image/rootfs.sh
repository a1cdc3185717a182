#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the image's files in DIR: clovisor, the libraries it needs, certificates, and what names their packages.
#
#     deploy/image/rootfs.sh DIR
#
# Both ways to an image, the Dockerfile and tools/image, run this; so they hold the same. The same sources and packages
# make the same bytes. Needs no root; builds in build-image/. Packages: tools/setup image.
set -euo pipefail
umask 022

top=$(dirname "$(dirname "$(dirname "$(realpath "$0")")")")
case ${1-} in
-h | --help) sed -n '4,9s/^# \{0,1\}//p' "$0" && exit ;;
"") echo "rootfs: where to? See --help" >&2 && exit 2 ;;
esac
root=$1
build=$top/build-image

fail() { echo "rootfs: $*" >&2 && exit 1; }

[ ! -e "$root" ] || [ -z "$(ls -A "$root")" ] || fail "$root is not empty"
for tool in meson ninja dpkg-buildflags; do
    command -v $tool >/dev/null || fail "no $tool: sudo tools/setup image"
done

flags() { DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --get "$1" | sed 's/-g //; s/-O2 //; s/-ffile-prefix-map=[^ ]* //'; }

build_program() {
    [ -e "$build/build.ninja" ] ||
        CFLAGS="$(flags CFLAGS) $(flags CPPFLAGS)" LDFLAGS=$(flags LDFLAGS) \
            meson setup "$build" "$top" --prefix=/usr -Ddebug=false -Dtests=disabled -Dlibraries=linked >/dev/null
    local said
    said=$(ninja -C "$build" --quiet clovisor) || { echo "$said" >&2 && fail "clovisor does not build"; }
}

# Without -g and with names relative to the build directory nothing of this machine is in it.
install_program() {
    mkdir -p "$root/usr/bin"
    strip -o "$root/usr/bin/clovisor" "$build/clovisor"
}

# Prints the package of a library. ldd names it by /lib, which is /usr/lib; dpkg knows one or the other.
package_of() {
    { dpkg-query -S "$1" "/usr$1" "$(realpath "$1")" 2>/dev/null || :; } | sed -n '1s/:.*//p'
}

# As distroless images do: what a scanner reads to know which version of what is here. $1: package, $2: version
describe() {
    mkdir -p "$root/var/lib/dpkg/status.d" "$root/usr/share/doc/$1"
    dpkg-query -W -f "Package: \${Package}
Status: install ok installed
Maintainer: \${Maintainer}
Architecture: \${Architecture}
Source: \${source:Package}
Version: ${2:-\${Version\}}
Homepage: \${Homepage}
Description: \${binary:Summary}
" "$1" >"$root/var/lib/dpkg/status.d/$1"
    cp "/usr/share/doc/$1/copyright" "$root/usr/share/doc/$1/"
}

# The libraries that the program needs when it meets the small ones.
install_libraries() {
    local small lib package
    small=$("$top/deploy/image/libraries.sh")
    mkdir -p "$root/usr/lib" "$root/usr/lib64"
    ln -s usr/lib usr/lib64 "$root/"
    for lib in $(LD_LIBRARY_PATH=$small ldd "$build/clovisor" | sed -n 's,.*[ \t]\(/[^ ]*\) (0x.*,\1,p'); do
        case $lib in
        "$small"/*)
            install -D -m 644 "$lib" "$root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)/$(basename "$lib")"
            ;;
        *)
            install -D -m 755 "$lib" "$root$lib"
            package=$(package_of "$lib")
            [ -n "$package" ] || fail "$lib is of no package"
            describe "$package"
            ;;
        esac
    done
    describe libcurl4 "$(sed -n 's/^curl=//p' "$small/sources")"
    describe libpcap0.8 "$(sed -n 's/^libpcap=//p' "$small/sources")"
}

# Mozilla's certificates as the package has them, and none that somebody added to this machine.
install_certificates() {
    local certificates
    certificates=$(dpkg-query -L ca-certificates 2>/dev/null | grep '/mozilla/.*\.crt$' | LC_ALL=C sort) ||
        fail "no ca-certificates: sudo tools/setup image"
    mkdir -p "$root/etc/ssl/certs"
    # shellcheck disable=SC2086 # a list of words
    cat $certificates >"$root/etc/ssl/certs/ca-certificates.crt"
    describe ca-certificates
}

install_etc() {
    mkdir -p "$root"/{dev,proc,sys,run/clovisor,etc/clovisor,var/lib/clovisor} && mkdir -m 1777 "$root/tmp"
    echo 'root:x:0:0:root:/:/usr/sbin/nologin' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
    install -D -m 644 "$top/LICENSE" "$root/usr/share/doc/clovisor/copyright"
}

build_program
install_program
install_libraries
install_certificates
install_etc
