#!/bin/sh
# PeerTube's settings that a variable in the stack cannot hold: secrets, and a relay that may be absent.
set -eu

PEERTUBE_DB_PASSWORD=$(cat /run/secrets/db_password)
PEERTUBE_SECRET=$(cat /run/secrets/app_secret)
# Read at the first start alone.
PT_INITIAL_ROOT_PASSWORD=$(cat /run/secrets/admin_password)
export PEERTUBE_DB_PASSWORD PEERTUBE_SECRET PT_INITIAL_ROOT_PASSWORD

# Without a host PeerTube sends no mail; a user without a password is none.
if [ -n "$MAIL_HOST" ]; then
    export PEERTUBE_SMTP_HOSTNAME="$MAIL_HOST" PEERTUBE_SMTP_PORT="$MAIL_PORT" PEERTUBE_SMTP_FROM="$MAIL_FROM"
    case $MAIL_SECURITY in
        tls) export PEERTUBE_SMTP_TLS=true PEERTUBE_SMTP_DISABLE_STARTTLS=true ;;
        none) export PEERTUBE_SMTP_TLS=false PEERTUBE_SMTP_DISABLE_STARTTLS=true ;;
        *) export PEERTUBE_SMTP_TLS=false PEERTUBE_SMTP_DISABLE_STARTTLS=false ;;
    esac
    if [ -n "$MAIL_USER" ]; then
        PEERTUBE_SMTP_PASSWORD=$(cat /run/secrets/mail_password)
        export PEERTUBE_SMTP_USERNAME="$MAIL_USER" PEERTUBE_SMTP_PASSWORD
    fi
fi
exec "$@"
