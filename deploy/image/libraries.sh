#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Prints a directory with a small libcurl.so.4 and libpcap.so.0.8 for the image; builds them first, if need be.
#
#     deploy/image/libraries.sh
#
# Debian's own bring in 30 more libraries (LDAP, Kerberos, SSH, D-Bus, systemd...), none of which clovisor calls. These
# are made of Debian's source packages, its fixes included, with HTTP and TLS alone, and without devices; their
# interface is that of Debian's, so the same program runs with either. Once for each version, a minute, into
# ${XDG_CACHE_HOME:-~/.cache}/clovisor/image/libraries-HASH/.
set -euo pipefail

case ${1-} in
"") ;;
-h | --help) sed -n '4,11s/^# \{0,1\}//p' "$0" && exit ;;
*) echo "libraries: unexpected '$1'; see --help" >&2 && exit 2 ;;
esac

say() { echo "libraries: $*" >&2; }
fail() { say "$*" && exit 1; }

# The source package of a binary one, as NAME=VERSION: of the newest that apt knows.
source_of() {
    apt-cache show --no-all-versions "$1" 2>/dev/null | awk '
        /^Package:/ { name = $2 } /^Version:/ { version = $2 }
        /^Source:/ { name = $2; if ($3) version = substr($3, 2, length($3) - 2) }
        END { if (version) print name "=" version }'
}

curl=$(source_of libcurl4) libpcap=$(source_of libpcap0.8)
[[ -n $curl && -n $libpcap ]] || fail "apt knows no libcurl4 or no libpcap0.8; run apt-get update"
hash=$(cat "$0" - <<<"$curl $libpcap $(dpkg --print-architecture)" | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/clovisor/image
built=$cache/libraries-$hash
[ ! -d "$built" ] || { echo "$built" && exit; }

# One builds, the others wait for it. What is unfinished has another name, so a cache entry is whole or absent.
mkdir -p "$cache"
exec {lock}>"$cache/lock"
flock "$lock"
[ ! -d "$built" ] || { echo "$built" && exit; }
for tool in dpkg-source gcc make flex bison; do
    command -v $tool >/dev/null || fail "no $tool: sudo tools/setup image"
done
rm -rf "$cache"/new.*
work=$(mktemp -d "$cache/new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP

# Runs a step; what it has to say is shown when it fails.
step() {
    "$@" >"$work/log" 2>&1 {lock}>&- || { tail -20 "$work/log" >&2 && fail "$* failed"; }
}

# Sources from where this machine's packages are from, with lists of their own: the machine's settings stay as they are.
fetch() {
    mkdir -p "$work/apt/lists/partial" "$work/apt/sources"
    for list in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
        [ ! -s $list ] || sed 's/^Types:.*/Types: deb-src/; s/^deb /deb-src /' $list >"$work/apt/sources/$(basename $list .list | tr . -).${list##*.}"
    done
    local apt=(apt-get -qq -o "Dir::Etc::SourceList=/dev/null" -o "Dir::Etc::SourceParts=$work/apt/sources"
        -o "Dir::State::Lists=$work/apt/lists" -o "Dir::Cache=$work/apt" -o APT::Sandbox::User=)
    cd "$work"
    step "${apt[@]}" update
    step "${apt[@]}" source "$@"
}

# Debian's series ends with two patches that turn libcurl into those for GnuTLS and NSS; this one is for OpenSSL.
build_libcurl() {
    cd "$work"/curl-*/
    for patch in 99_nss 90_gnutls; do
        step patch -R -p1 -i debian/patches/$patch.patch
    done
    step ./configure --prefix=/usr --disable-static --enable-versioned-symbols --disable-dependency-tracking \
        --enable-threaded-resolver --with-openssl --with-nghttp2 --with-zlib \
        --with-ca-bundle=/etc/ssl/certs/ca-certificates.crt --without-ca-path \
        --without-brotli --without-zstd --without-libpsl --without-libidn2 --without-librtmp --without-libssh2 \
        --without-libgsasl --without-gssapi --disable-ldap --disable-ldaps --disable-ntlm --disable-ntlm-wb --disable-tls-srp \
        --disable-{dict,file,ftp,gopher,imap,mqtt,pop3,rtsp,smb,smtp,telnet,tftp} --disable-manual \
        "CFLAGS=$(flags CFLAGS)" "CPPFLAGS=$(flags CPPFLAGS)" "LDFLAGS=$(flags LDFLAGS)"
    # Its patches have touched what configure is made of; the one that came with it will do.
    step make -C lib AUTOCONF=: AUTOMAKE=: ACLOCAL=: AUTOHEADER=:
    strip -o "$work/lib/libcurl.so.4" lib/.libs/libcurl.so.4
}

build_libpcap() {
    cd "$work"/libpcap-*/
    step ./configure --prefix=/usr --disable-{dbus,usb,bluetooth,rdma} --without-libnl --without-{dag,snf,septel,turbocap} \
        "CFLAGS=$(flags CFLAGS)" "CPPFLAGS=$(flags CPPFLAGS)" "LDFLAGS=$(flags LDFLAGS)"
    step make libpcap.so
    strip -o "$work/lib/libpcap.so.0.8" libpcap.so.1.*
}

# Debian's flags for the tree at hand, whose place is left out of what they make.
flags() { DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --get "$1"; }

say "building small libraries of $curl and $libpcap, once; this takes a minute or two"
begin=$SECONDS
mkdir "$work/lib"
fetch "$curl" "$libpcap"
(build_libcurl)
(build_libpcap)
printf '%s\n' "$curl" "$libpcap" >"$work/lib/sources"
mv "$work/lib" "$built"
say "built them in $((SECONDS - begin)) s"
echo "$built"
