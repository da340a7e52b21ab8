# Arguments: the folder of counter files (empty: that of GOCOVERDIR), /proc, the name of a process (empty: none),
# "shared" if other containers or the node share the container's process IDs, "find" if its processes are to be listed.
cd -- "${1:-$GOCOVERDIR}" || exit 41
proc=$2 name=$3 shared=$4

names() { for f in "$1".*; do [ -e "$f" ] && echo "$f"; done; echo .; }
count() { set -- covcounters.*; if [ -e "$1" ]; then echo "$#"; else echo 0; fi; }

# The lines of a process's cgroup file.
read_cgroup() {
  cgroup=
  { while read -r line; do cgroup="$cgroup$line;"; done <"$proc/$1/cgroup"; } 2>/dev/null
}
# In this shell's own cgroup or below it.
in_own_cgroup() {
  read_cgroup "$1"
  case $cgroup in
    "") return 1 ;;
    "$own;") ;;
    "${own%/}/.."*) return 1 ;;
    "${own%/}/"*) ;;
    *) return 1 ;;
  esac
}
read_cgroup self
own=${cgroup%;}
# Where process IDs are shared, process 1 is the node's init or the pod's sandbox. If even that seems to be in this
# cgroup, cgroups tell nothing.
useless=
if [ -n "$shared" ] && in_own_cgroup 1; then useless=y; fi

# Whether this user may see a process's mount namespace; and whether it is this shell's.
sees_mounts() { [ -e "$proc/$1/ns/mnt" ] && [ / -ef / ] 2>/dev/null; }
has_own_mounts() { sees_mounts "$1" && [ "$proc/$1/ns/mnt" -ef "$proc/self/ns/mnt" ]; }

# Whether a process is the container's. Where process IDs are not shared, only `kubectl debug` brings in others.
is_ours() {
  [ "$1" != "$$" ] || return 1
  if [ -z "$shared" ]; then
    [ -z "$own" ] || in_own_cgroup "$1" || has_own_mounts "$1"
  elif sees_mounts "$1"; then
    has_own_mounts "$1"
  else
    [ -z "$useless" ] && in_own_cgroup "$1"
  fi
}

# Fails for a process that has ended.
read_status() {
  state= parent=0 seen=$1 caught=
  { while read -r key value; do
    case $key in
      State:) state=$value ;;
      PPid:) parent=$value ;;
      NSpid:) for seen in $value; do :; done ;;
      SigCgt:) caught=$value; break ;;
    esac
  done <"$proc/$1/status"; } 2>/dev/null
  case $state in "" | Z* | X*) return 1 ;; esac
}
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
