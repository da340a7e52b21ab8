#!/bin/sh
# Installs podcov @VERSION@: install.sh [PREFIX]
#
# The programs come into PREFIX/bin, manual pages and completions into PREFIX/share. PREFIX is /usr/local for root, else ~/.local.
# An archive that is not the released one, by its SHA-256, is refused, and nothing is installed. PODCOV_URL names another
# place that has the archives: a mirror, or a folder as file:///FOLDER.
set -eu

version=@VERSION@
url=${PODCOV_URL:-@URL@}

fail() {
    echo "install.sh: error: $*" >&2
    exit 1
}

# download URL FILE
download() {
    case $1 in
    file://*) cp "${1#file://}" "$2" ;;
    *)
        if command -v curl >/dev/null; then
            curl --fail --silent --show-error --location --output "$2" "$1"
        elif command -v wget >/dev/null; then
            wget -q -O "$2" "$1"
        else
            fail "neither curl nor wget is installed"
        fi
        ;;
    esac
}

# The SHA-256 of a file. macOS has shasum, most others sha256sum.
sum_of() {
    if command -v sha256sum >/dev/null; then
        sha256sum "$1"
    elif command -v shasum >/dev/null; then
        shasum -a 256 "$1"
    else
        fail "neither sha256sum nor shasum is installed, so the archive cannot be checked"
    fi
}

# In a function, so that nothing runs if the download of this script breaks off.
main() {
    case $(uname -s) in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) fail "podcov $version has no archive for $(uname -s) that this script installs; see docs/install.md" ;;
    esac
    case $(uname -m) in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) arch=$(uname -m) ;;
    esac
    case $os-$arch in
@PLATFORMS@
    *) fail "podcov $version has no archive for $os-$arch; build it from source: docs/install.md" ;;
    esac

    prefix=${1:-}
    if [ -z "$prefix" ]; then
        if [ "$(id -u)" = 0 ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
    fi
    name=podcov-$version-$os-$arch
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    download "$url/$name.tar.gz" "$work/archive" || fail "cannot download $url/$name.tar.gz"
    found=$(sum_of "$work/archive")
    [ "${found%% *}" = "$sum" ] ||
        fail "$url/$name.tar.gz is not the released archive: its SHA-256 is ${found%% *}, not $sum. Nothing is installed"
    tar -xzf "$work/archive" -C "$work"

    # Each file appears as a whole, and a program that runs keeps its own.
    tar -tzf "$work/archive" >"$work/list"
    while read -r file; do
        target=$prefix/${file#"$name/"}
        mkdir -p "${target%/*}"
        cp -P "$work/$file" "$target.new$$"
        mv -f "$target.new$$" "$target"
    done <"$work/list"

    echo "podcov $version is in $prefix/bin"
    case :$PATH: in
    *":$prefix/bin:"*) ;;
    *) echo "add it to PATH: export PATH=\"$prefix/bin:\$PATH\"" ;;
    esac
}

main "$@"
