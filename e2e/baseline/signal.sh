#!/usr/bin/env bash
# signal.sh LABEL: sends USR1 to the first process of every pod with the label. It does not know when, or whether, the
# counters are written.
set -euo pipefail
kubectl=(kubectl --context "$SKAFFOLD_KUBE_CONTEXT")

"${kubectl[@]}" get pods --all-namespaces --selector "$1" \
    --output 'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' |
    while read -r namespace pod; do
        "${kubectl[@]}" exec --namespace "$namespace" "$pod" -- kill -USR1 1 </dev/null
    done
