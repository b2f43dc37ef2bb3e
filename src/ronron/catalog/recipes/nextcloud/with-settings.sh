#!/bin/sh
# What a variable in the stack cannot say: a setting that is absent. Nextcloud takes an empty one for a value.
set -eu

if [ -z "${NC_default_phone_region:-}" ]; then unset NC_default_phone_region; fi
if [ -z "${SMTP_HOST:-}" ]; then
    unset SMTP_HOST SMTP_PORT MAIL_FROM_ADDRESS
else
    # STARTTLS Nextcloud uses by itself where the relay has it.
    if [ "$MAIL_SECURITY" = tls ]; then export SMTP_SECURE=ssl; fi
    if [ -n "${MAIL_USER:-}" ]; then
        export SMTP_NAME="$MAIL_USER" SMTP_PASSWORD_FILE=/run/secrets/mail_password
    fi
    # Nextcloud wants the two sides of the address by themselves, and both.
    sender=${MAIL_FROM_ADDRESS:-nextcloud@$OVERWRITEHOST}
    export MAIL_FROM_ADDRESS="${sender%%@*}" MAIL_DOMAIN="${sender#*@}"
fi
exec "$@"
