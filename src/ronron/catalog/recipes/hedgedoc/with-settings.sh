#!/bin/sh
# HedgeDoc's settings that a variable in the stack cannot hold. The password of the database is
# letters and digits, and goes into a URL as it is.
set -eu

CMD_DB_URL="postgres://hedgedoc:$(cat /run/secrets/db_password)@db:5432/hedgedoc"
CMD_SESSION_SECRET=$(cat /run/secrets/session_secret)
if [ "$REGISTRATION_CLOSED" = true ]; then CMD_ALLOW_EMAIL_REGISTER=false; else CMD_ALLOW_EMAIL_REGISTER=true; fi
export CMD_DB_URL CMD_SESSION_SECRET CMD_ALLOW_EMAIL_REGISTER
exec "$@"
