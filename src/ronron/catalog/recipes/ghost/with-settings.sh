#!/bin/bash
# Ghost's settings that an environment variable in the stack cannot hold. Works in the upstream image too.
set -euo pipefail

database__connection__password=$(< /run/secrets/db_password)
export database__connection__password

if [ -z "${mail__options__host:-}" ]; then
    # Without mail a code for every new browser could not arrive, and nobody could log in.
    unset mail__transport mail__options__host mail__options__port
    export security__staffDeviceVerification=false
fi
if [ -z "${mail__from:-}" ]; then unset mail__from; fi

# The database's first start takes a while, and Ghost gives up at once.
for _ in {1..120}; do
    if (exec 3<> "/dev/tcp/$database__connection__host/3306") 2> /dev/null; then break; fi
    sleep 0.5
done
exec docker-entrypoint.sh "$@"
