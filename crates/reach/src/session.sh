# Arguments: the folder of counter files (empty: that of GOCOVERDIR), /proc, the name of a process (empty: none),
# "shared" if other containers or the node share the container's process IDs, "find" if its processes are to be listed.
cd -- "${1:-$GOCOVERDIR}" || exit 41
proc=$2 name=$3 shared=$4 none=

names() { for f in "$1".*; do [ -e "$f" ] && echo "$f"; done; echo .; }
count() { set -- covcounters.*; if [ -e "$1" ]; then echo "$#"; else echo 0; fi; }

alive() { for p; do read_status "$p" && return; done; return 1; }

# Sets `kind`: covered, other, or, where the program cannot be searched, maybe. Go's runtime catches all signals.
find_kind() {
  kind=maybe
  if [ -r "$proc/$1/exe" ] && command -v grep >/dev/null 2>&1; then
    LC_ALL=C grep -qF 'GOCOVERDIR not set, no coverage data emitted' "$proc/$1/exe" 2>/dev/null
    case $? in 0) kind=covered ;; 1) kind=other ;; esac
  fi
  case $kind$caught in maybe | maybefffffff*) ;; maybe*) kind=other ;; esac
}

# Whether a process has the name. The kernel keeps 15 bytes of it.
has_name() {
  [ "$comm" != "$name" ] || return 0
  case $comm in ???????????????) ;; *) return 1 ;; esac
  case $name in "$comm"*) ;; *) return 1 ;; esac
  arguments=
  { read -r arguments <"$proc/$1/cmdline"; } 2>/dev/null
  case $arguments in "" | *"$name"*) ;; *) return 1 ;; esac
}

processes() {
  for p in "$proc"/[0-9]*; do
    p=${p##*/}
    is_ours "$p" && read_status "$p" || continue
    comm=
    { read -r comm <"$proc/$p/comm"; } 2>/dev/null
    find_kind "$p"
    named=-
    if has_name "$p"; then named=named; fi
    echo "$p $parent $seen $kind $named $comm"
  done
  echo .
}

# Arguments: the signal, the processes. What kill says against it comes first, then those that have ended before.
send() {
  signal=$1 sent= ended=
  shift
  for p; do
    if is_ours "$p" && kill -s "$signal" "$p" 2>&1; then sent="$sent $p"; else alive "$p" || ended="$ended $p"; fi
  done
  echo ended $ended
  echo signalled $sent
}

find_own
names covmeta
names covcounters
[ -z "$5" ] || processes
while read -r verb what; do
  case $verb in
    count) if alive $what; then count; else echo gone; fi ;;
    names) names covcounters ;;
    signal) send $what ;;
    take) command -v tar >/dev/null 2>&1 || { echo none; exit 0; }
          echo tar; exec tar -cf - $what ;;
    all)  command -v tar >/dev/null 2>&1 || { echo none; exit 0; }
          echo tar; all ;;
    *) exit 0 ;;
  esac
done
