#!/usr/bin/env bash
# collect.sh LABEL FOLDER: copies /coverage-data of every pod with the label, and prints the coverage of each package.
set -euo pipefail
kubectl=(kubectl --context "$SKAFFOLD_KUBE_CONTEXT")
folder=$2

"${kubectl[@]}" get pods --all-namespaces --selector "$1" \
    --output 'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}' |
    while read -r namespace pod; do
        mkdir -p "$folder/$namespace/$pod"
        "${kubectl[@]}" exec --namespace "$namespace" "$pod" -- tar -C /coverage-data -cf - . </dev/null |
            tar -xf - -C "$folder/$namespace/$pod"
    done
go tool covdata percent -i "$(find "$folder" -mindepth 2 -maxdepth 2 -type d | paste -sd, -)"
