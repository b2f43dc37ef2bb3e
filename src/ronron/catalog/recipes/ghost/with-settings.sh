#!/bin/bash
# Ghost's settings that an environment variable in the stack cannot hold. Works in the upstream image too.
set -euo pipefail

database__connection__password=$(< /run/secrets/db_password)
export database__connection__password

if [ -z "${mail__options__host:-}" ]; then
    # Without mail a code for every new browser could not arrive, and nobody could log in.
    unset mail__transport mail__options__host mail__options__port
    export security__staffDeviceVerification=false
else
    # The names of Nodemailer, by which Ghost sends.
    case $MAIL_SECURITY in
        tls) export mail__options__secure=true ;;
        starttls) export mail__options__secure=false mail__options__requireTLS=true ;;
        none) export mail__options__secure=false mail__options__ignoreTLS=true ;;
    esac
    if [ -n "${MAIL_USER:-}" ]; then
        mail__options__auth__pass=$(< /run/secrets/mail_password)
        export mail__options__auth__user=$MAIL_USER mail__options__auth__pass
    fi
fi
if [ -z "${mail__from:-}" ]; then unset mail__from; fi

# The database's first start takes a while, and Ghost gives up at once.
for _ in {1..120}; do
    if (exec 3<> "/dev/tcp/$database__connection__host/3306") 2> /dev/null; then break; fi
    sleep 0.5
done
exec docker-entrypoint.sh "$@"
