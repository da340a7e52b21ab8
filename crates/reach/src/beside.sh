# Which processes are those of the container that is meant. To be set, beside what `ours.sh` needs: `beside`, "beside" if this
# shell is in another container, beside that one; `id`, the ID of the one that is meant then.

# Whether a process is one of the container's.
is_meant() {
  if [ -z "$beside" ]; then is_ours "$1"; else [ -z "$by_id" ] || has_id "$1"; fi
}
has_id() {
  read_cgroup "$1"
  case $cgroup in *"$id"*) ;; *) return 1 ;; esac
}
# Comes before the other functions.
find_meant() {
  find_own
  # Process 1 is the container's where its process IDs are its own. If even that has not the ID, control groups tell
  # nothing.
  by_id=y
  if [ -z "$shared" ] && ! has_id 1; then by_id=; fi
}
