#!/bin/bash
# Starts upstream's entrypoint, and makes the server a replica set once it answers.
set -euo pipefail
until mongosh --nodb --quiet /replica-set.js > /dev/null 2>&1; do sleep 2; done &
exec docker-entrypoint.sh "$@"
