# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# For tools that build a program with Go when somebody first asks for it; sourced by tools/backend and tools/kube.
#
# A program is built once for each state of its sources (go.mod, go.sum, *.go), into
# ${XDG_CACHE_HOME:-~/.cache}/clovisor/KIND/NAME-HASH/. Go's own caches are where GOCACHE and GOMODCACHE say.

go_minor=26 # what the go.mod files ask for: Go 1.26

say() { echo "${0##*/}: $*" >&2; }
cannot() { say "$*"; exit 77; }

need_go() { # need_go NAME: ends with 77 if there is none that can build it
    PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin # sudo forgets the first one
    command -v go >/dev/null || cannot "no Go: $1 is built with Go 1.$go_minor or newer"
    version=$(cd / && go env GOVERSION)
    [[ $version =~ ^go1\.([0-9]+) && ${BASH_REMATCH[1]} -ge $go_minor ]] ||
        cannot "Go is too old: $1 is built with Go 1.$go_minor or newer, this is $version"
}

# Without debug information, which compiles a tenth faster; without C but where cgo=1 is set.
compile() { # compile NAME PACKAGE LDFLAGS: in the current directory; its words are for a log
    exec env GOFLAGS="-buildvcs=false -mod=mod" GOWORK=off CGO_ENABLED="${cgo:-0}" \
        go build -trimpath -gcflags=all=-dwarf=false -ldflags="-s -w $3" -o "$1" "$2"
}

wait_for_build() { # wait_for_build PID NAME: tells every 15 s that it goes on; the status of the build
    local begin=$SECONDS said=$SECONDS
    while kill -0 "$1" 2>/dev/null; do
        sleep 0.2
        [ $((SECONDS - said)) -lt 15 ] || { said=$SECONDS; say "building $2: $((SECONDS - begin)) s"; }
    done
    wait "$1"
}

# build_once KIND SOURCES PACKAGE [LDFLAGS]: sets $built, the directory with the program; its name is that of SOURCES.
# Then for a program by several names, link them there: what is already linked stays.
build_once() {
    local kind=$1 sources=$2 package=$3 ldflags=${4-} name=${2##*/} cache hash begin lock
    hash=$(cd "$sources" && { cat go.* ./*.go 2>/dev/null || :; echo "$ldflags"; } | sha256sum | cut -c1-16)
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/clovisor/$kind
    built=$cache/$name-$hash
    [ ! -x "$built/$name" ] || return 0
    need_go "$name"

    # One builds, the others wait for it. What is unfinished has another name, so a cache entry is whole or absent.
    mkdir -p "$cache"
    exec {lock}>"$cache/$name.lock"
    flock -n "$lock" || { say "another run builds $name; waiting for it"; flock "$lock"; }
    [ ! -x "$built/$name" ] || return 0
    rm -rf "$built".new.*
    work=$(mktemp -d "$built.new.XXXXXX")
    builder=""
    trap '[ -z "$builder" ] || kill "$builder" 2>/dev/null || :; rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM HUP

    say "building $name with $version, once; this takes some minutes"
    begin=$SECONDS
    find "$sources" -maxdepth 1 \( -name 'go.*' -o -name '*.go' \) -exec cp {} "$work" \;
    chmod 755 "$work"
    (cd "$work" && compile "$name" "$package" "$ldflags" {lock}>&-) >"$work/log" 2>&1 &
    builder=$!
    if ! wait_for_build $builder "$name"; then
        builder=""
        say "$name did not build:"
        tail -20 "$work/log" >&2
        exit 1
    fi
    builder=""
    rm -rf "$built"
    mv "$work" "$built"
    say "built $name in $((SECONDS - begin)) s"
}
