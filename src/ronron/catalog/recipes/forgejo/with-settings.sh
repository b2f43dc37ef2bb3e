#!/bin/sh
# What a variable in the stack cannot say: mail is on when there is a relay.
set -eu

if [ -n "${FORGEJO__mailer__SMTP_ADDR:-}" ]; then
    export FORGEJO__mailer__ENABLED=true
    case $MAIL_SECURITY in
        tls) export FORGEJO__mailer__PROTOCOL=smtps ;;
        starttls) export FORGEJO__mailer__PROTOCOL=smtp+starttls ;;
        none) export FORGEJO__mailer__PROTOCOL=smtp ;;
    esac
    if [ -n "${MAIL_USER:-}" ]; then
        export FORGEJO__mailer__USER="$MAIL_USER" FORGEJO__mailer__PASSWD__FILE=/run/secrets/mail_password
    fi
else
    export FORGEJO__mailer__ENABLED=false
    unset FORGEJO__mailer__SMTP_ADDR FORGEJO__mailer__SMTP_PORT FORGEJO__mailer__FROM
fi
exec "$@"
