# `all` becomes a tar archive of the coverage files in the working directory: covmeta.*, covcounters.* and the text
# profiles that podcov-agent keeps. Without any it exits with code $none, or 43 if that is not set. More names than a command line holds are sent as
# several archives, one after the other. gzip is used where it is a file on PATH, for tar runs it itself: busybox's
# shell may have one that nobody else can run.
all() {
  set -- coverprofile.[0-9]*.[0-9]*
  [ -e "$1" ] || shift
  set -- covcounters.* "$@"
  [ -e "$1" ] || shift
  set -- covmeta.* "$@"
  [ -e "$1" ] || shift
  [ "$#" -gt 0 ] || exit ${none:-43}
  z=; case $(command -v gzip) in /*) z=z ;; esac
  [ "$#" -gt 10000 ] || exec tar -c${z}f - "$@"
  n=0 names= failed=
  for f; do
    names="$names $f" n=$((n + 1))
    [ "$n" -lt 2000 ] || { tar -c${z}f - $names || failed=$?; n=0 names=; }
  done
  [ -z "$names" ] || tar -c${z}f - $names || failed=$?
  exit ${failed:-0}
}
