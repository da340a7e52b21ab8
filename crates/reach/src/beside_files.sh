# Arguments: the folder of coverage files in the container beside this one, /proc, "shared" if other containers or the node
# share that container's process IDs, its ID, the exit code if the folder is not there or empty (empty: an error's).
dir=$1 proc=$2 shared=$3 beside=beside id=$4 none=$5

find_meant
for p in "$proc"/[0-9]*; do
  p=${p##*/}
  # Another process of the container may be another user's.
  is_meant "$p" && read_status "$p" && [ -e "$proc/$p/root/." ] || continue
  at=$proc/$p/root
  # What an absolute link leads to from here is not what it leads to there.
  set -f
  IFS=/
  for part in $dir; do
    [ -n "$part" ] || continue
    at=$at/$part
    [ ! -L "$at" ] || exit 47
  done
  unset IFS
  set +f
  cd -- "$at" 2>/dev/null || exit ${none:-41}
  command -v tar >/dev/null 2>&1 || exit 42
  all
done
exit 46
