#!/bin/sh
# ownCloud's settings that a variable in the stack cannot hold: secrets, and a relay that may be absent.
set -eu

OWNCLOUD_DB_PASSWORD=$(cat /run/secrets/db_password)
# Read at the first start alone.
OWNCLOUD_ADMIN_PASSWORD=$(cat /run/secrets/admin_password)
export OWNCLOUD_DB_PASSWORD OWNCLOUD_ADMIN_PASSWORD

if [ -n "$MAIL_HOST" ]; then
    export OWNCLOUD_MAIL_SMTP_MODE=smtp OWNCLOUD_MAIL_SMTP_HOST="$MAIL_HOST" OWNCLOUD_MAIL_SMTP_PORT="$MAIL_PORT"
    # ownCloud wants the two sides of the address by themselves.
    export OWNCLOUD_MAIL_FROM_ADDRESS="${MAIL_FROM%%@*}" OWNCLOUD_MAIL_DOMAIN="${MAIL_FROM#*@}"
    case $MAIL_SECURITY in
        tls) export OWNCLOUD_MAIL_SMTP_SECURE=ssl ;;
        none) ;;
        *) export OWNCLOUD_MAIL_SMTP_SECURE=tls ;;
    esac
    if [ -n "$MAIL_USER" ]; then
        OWNCLOUD_MAIL_SMTP_PASSWORD=$(cat /run/secrets/mail_password)
        export OWNCLOUD_MAIL_SMTP_AUTH=true OWNCLOUD_MAIL_SMTP_AUTH_TYPE=LOGIN
        export OWNCLOUD_MAIL_SMTP_NAME="$MAIL_USER" OWNCLOUD_MAIL_SMTP_PASSWORD
    fi
fi
exec "$@"
