#!/usr/bin/env bash
# test.sh RESOURCE NAMESPACE LOCAL REMOTE: forwards a port, waits until it listens, and asks seven times.
set -euo pipefail
kubectl=(kubectl --context "$SKAFFOLD_KUBE_CONTEXT")
resource=$1 namespace=$2 local=$3 remote=$4

"${kubectl[@]}" port-forward --namespace "$namespace" "$resource" "$local:$remote" >/dev/null &
forward=$!
trap 'kill $forward' EXIT
until (: >"/dev/tcp/127.0.0.1/$local") 2>/dev/null; do
    sleep 0.1
done
for _ in 1 2 3 4 5 6 7; do
    curl --silent --fail --output /dev/null "http://127.0.0.1:$local/"
done
