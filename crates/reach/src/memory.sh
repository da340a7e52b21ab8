# Arguments: /proc, "shared" if other containers or the node share the container's process IDs, "beside" if this shell is
# in a container beside it, that container's ID, the line that ends each answer.
proc=$1 shared=$2 beside=$3 id=$4 end=$5
command -v dd >/dev/null 2>&1 || exit 44

# Whether a process is one of the container's.
is_meant() {
  if [ -z "$beside" ]; then is_ours "$1"; else [ -z "$by_id" ] || has_id "$1"; fi
}
has_id() {
  read_cgroup "$1"
  case $cgroup in *"$id"*) ;; *) return 1 ;; esac
}
# Process 1 is the container's where its process IDs are its own. If even that has not the ID, control groups tell nothing.
by_id=y
if [ -z "$shared" ] && ! has_id 1; then by_id=; fi

# The first line of a file, after its name.
line() {
  first=
  { read -r first <"$proc/$1"; } 2>/dev/null
  echo "$1 $first"
}

find_own
read_status self
echo "self $user $group"
line sys/kernel/yama/ptrace_scope
line uptime
{ while read -r key value; do
  case $key in btime) echo "btime $value" ;; esac
done <"$proc/stat"; } 2>/dev/null
for p in "$proc"/[0-9]*; do
  p=${p##*/}
  is_meant "$p" && read_status "$p" || continue
  echo "process $p $seen $user $group"
  line "$p/stat"
done
echo .

while read -r file skip count; do
  dd if="$proc/$file" bs=4096 skip="$skip" count="$count" 2>/dev/null </dev/null
  echo "$end"
done
