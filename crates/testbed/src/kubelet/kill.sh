# `kill` as a container sees it. A pod of the testbed is a host process, so pid 1 stands for that process
# (TESTBED_PID), and any other pid must belong to the container's or to this command's own process group:
# nothing else on the host can be reached. With TESTBED_SIGNALS set, signals for pid 1 go to the testbed, which
# delays, drops or records them.
__pgrp() {
    if [ -r "/proc/$1/stat" ]; then
        read -r __stat <"/proc/$1/stat" || return 1
        set -- ${__stat##*) }
        echo "$3"
    else
        ps -o pgid= -p "$1" | tr -d ' '
    fi
}
__allowed() {
    __group=$(__pgrp "$1") && [ -n "$__group" ] && [ "$__group" -gt 1 ] || return 1
    [ "$__group" = "${TESTBED_PID:-}" ] || [ "$__group" = "$(__pgrp $$)" ]
}
kill() {
    case "${1-}" in -l* | -L* | --list | --table | --help | --version) command kill "$@"; return ;; esac
    __at=signal __signal=TERM __one= __found= __status=0
    for __arg do
        shift
        case "$__at" in
            value) __at=pids __signal=$__arg; continue ;;
            signal)
                __at=pids
                case "$__arg" in
                    -s | -n | --signal) __at=value; continue ;;
                    --) continue ;;
                    -[sn][A-Z0-9]*) __signal=${__arg#-?}; continue ;;
                    -*) __signal=${__arg#-}; continue ;;
                esac ;;
        esac
        case "$__arg" in
            --) ;;
            1 | +1 | 0*1 | -1 | -0*1)
                if [ -n "${TESTBED_SIGNALS:-}" ]; then
                    __one=1
                elif [ -n "${TESTBED_PID:-}" ] && [ "$TESTBED_PID" -gt 1 ]; then
                    __found=1
                    case "$__arg" in -*) set -- "$@" "-$TESTBED_PID" ;; *) set -- "$@" "$TESTBED_PID" ;; esac
                else
                    echo "kill: ($__arg) - No such process" >&2; __status=1
                fi ;;
            0 | %*) set -- "$@" "$__arg"; __found=1 ;;
            *[!0-9+-]* | '') echo "kill: illegal pid: $__arg" >&2; __status=1 ;;
            *)
                if [ -n "${TESTBED_SIGNALS:-}" ] && [ "$__arg" = "${TESTBED_PID:-}" ]; then
                    __one=1
                elif __allowed "${__arg#[-+]}"; then
                    set -- "$@" "$__arg"; __found=1
                else
                    echo "kill: ($__arg) - No such process" >&2; __status=1
                fi ;;
        esac
    done
    if [ -n "$__one" ]; then printf '%s %s\n' "$TESTBED_EXEC" "$__signal" >"$TESTBED_SIGNALS" || __status=1; fi
    # The one form that every shell takes alike, negative pids included.
    if [ -n "$__found" ]; then command kill -s "${__signal#SIG}" -- "$@" || __status=$?; fi
    return $__status
}
