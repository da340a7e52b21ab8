# Arguments: /proc, "shared" if other containers or the node share the container's process IDs, "beside" if this shell is
# in a container beside it, that container's ID, the line that ends each answer.
proc=$1 shared=$2 beside=$3 id=$4 end=$5
command -v dd >/dev/null 2>&1 || exit 44

# The first line of a file, after its name.
line() {
  first=
  { read -r first <"$proc/$1"; } 2>/dev/null
  # Some shells' echo takes a backslash for more than that, and processes choose their names.
  case $first in *\\*) first= ;; esac
  echo "$1 $first"
}

find_meant
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
  # Go's runtime catches all signals.
  case $caught in fffffff*) go=1 ;; *) go=0 ;; esac
  echo "process $p $seen $user $group $go"
  line "$p/stat"
done
echo .

while read -r file skip count; do
  dd if="$proc/$file" bs=4096 skip="$skip" count="$count" 2>/dev/null </dev/null
  echo "$end"
done
