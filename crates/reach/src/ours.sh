# Which processes are the container's. To be set: `proc`, /proc; `shared`, "shared" if other containers or the node share
# the container's process IDs.

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
# Comes before the other functions.
find_own() {
  read_cgroup self
  own=${cgroup%;}
  # Where process IDs are shared, process 1 is the node's init or the pod's sandbox. If even that seems to be in this
  # cgroup, cgroups tell nothing.
  useless=
  if [ -n "$shared" ] && in_own_cgroup 1; then useless=y; fi
}

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
  state= parent=0 seen=$1 caught= user= group=
  { while read -r key value; do
    case $key in
      State:) state=$value ;;
      PPid:) parent=$value ;;
      Uid:) user=${value%%[!0-9]*} ;;
      Gid:) group=${value%%[!0-9]*} ;;
      NSpid:) for seen in $value; do :; done ;;
      SigCgt:) caught=$value; break ;;
    esac
  done <"$proc/$1/status"; } 2>/dev/null
  case $state in "" | Z* | X*) return 1 ;; esac
}
