#!/bin/sh
# Invoice Ninja's settings that a variable in the stack cannot hold: secrets, and a relay that may be absent.
set -eu

DB_PASSWORD=$(cat /run/secrets/db_password)
# 32 letters and digits are the 32 bytes that the cipher wants.
APP_KEY="base64:$(tr -d '\n' < /run/secrets/app_key | base64 | tr -d '\n')"
export DB_PASSWORD APP_KEY

if [ -z "$MAIL_HOST" ]; then
    export MAIL_MAILER=log
    unset MAIL_HOST MAIL_PORT
else
    export MAIL_MAILER=smtp
    case $MAIL_SECURITY in
        tls)
            if [ "$MAIL_PORT" != 465 ]; then
                echo "with-settings.sh: Invoice Ninja speaks TLS from the beginning on port 465 alone: set mail_port" >&2
                exit 1
            fi
            export MAIL_ENCRYPTION=tls
            ;;
        none) ;;
        *) export MAIL_ENCRYPTION=tls ;;
    esac
    if [ -n "$MAIL_USER" ]; then
        MAIL_PASSWORD=$(cat /run/secrets/mail_password)
        export MAIL_USERNAME="$MAIL_USER" MAIL_PASSWORD
    fi
fi
exec "$@"
