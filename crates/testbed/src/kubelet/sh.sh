#!/bin/sh
# A container's shell: the host's, with the container's own `kill` defined before the script runs.
: "${TESTBED_PID:=$$}"
__lib=${0%/*}/../lib/kill.sh
__prelude="TESTBED_PID=$TESTBED_PID; . '$__lib'"
__flags=
while [ $# -gt 0 ]; do
    case "$1" in
        -o | +o) __flags="$__flags $1 ${2-}"; shift 2 ;;
        --) shift; break ;;
        --*) shift ;;
        -*c*)
            __flags="$__flags $1"; shift
            __script=${1-}; [ $# -gt 0 ] && shift
            exec @SHELL@ $__flags "$__prelude
$__script" "$@" ;;
        -s | -) shift; break ;;
        -* | +*) __flags="$__flags $1"; shift ;;
        *)
            case "$1" in */*) ;; *) __file=./$1; shift; set -- "$__file" "$@" ;; esac
            exec @SHELL@ $__flags -c "$__prelude
. \"\$0\"" "$@" ;;
    esac
done
exec @SHELL@ $__flags -c "$__prelude
. /dev/stdin" sh "$@"
