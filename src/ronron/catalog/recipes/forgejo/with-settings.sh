#!/bin/sh
# What a variable in the stack cannot say: mail is on when there is a relay.
set -eu

if [ -n "${FORGEJO__mailer__SMTP_ADDR:-}" ]; then
    export FORGEJO__mailer__ENABLED=true
else
    export FORGEJO__mailer__ENABLED=false
    unset FORGEJO__mailer__PROTOCOL FORGEJO__mailer__SMTP_ADDR FORGEJO__mailer__SMTP_PORT FORGEJO__mailer__FROM
fi
exec "$@"
