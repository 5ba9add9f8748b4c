#!/bin/sh
# The namespace of the payments. The server answers a moment before it can register one, so this tries for two minutes.
set -eu

attempt=0
until temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"; do
    attempt=$((attempt + 1))
    if [ "$attempt" -ge 40 ]; then
        echo "the namespace $TEMPORAL_NAMESPACE could not be created" >&2
        exit 1
    fi
    sleep 3
done
temporal operator namespace update --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
