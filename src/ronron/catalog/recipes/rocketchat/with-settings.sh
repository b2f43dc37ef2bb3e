#!/bin/sh
# Rocket.Chat's settings that a variable in the stack cannot hold: secrets, and a relay that may be absent.
# The password of the database is letters and digits, and goes into a URL as it is.
set -eu

MONGO_URL="mongodb://rocketchat:$(cat /run/secrets/db_password)@db:27017/rocketchat?replicaSet=rs0&authSource=rocketchat"
# Read at the first start alone.
ADMIN_PASS=$(cat /run/secrets/admin_password)
export MONGO_URL ADMIN_PASS

# Rocket.Chat takes any of its settings from OVERWRITE_SETTING_ and its name.
if [ -n "$MAIL_HOST" ]; then
    export OVERWRITE_SETTING_SMTP_Host="$MAIL_HOST" OVERWRITE_SETTING_SMTP_Port="$MAIL_PORT"
    export OVERWRITE_SETTING_From_Email="$MAIL_FROM" OVERWRITE_SETTING_SMTP_Username="$MAIL_USER"
    case $MAIL_SECURITY in
        tls) export OVERWRITE_SETTING_SMTP_Protocol=smtps OVERWRITE_SETTING_SMTP_IgnoreTLS=false ;;
        none) export OVERWRITE_SETTING_SMTP_Protocol=smtp OVERWRITE_SETTING_SMTP_IgnoreTLS=true ;;
        *) export OVERWRITE_SETTING_SMTP_Protocol=smtp OVERWRITE_SETTING_SMTP_IgnoreTLS=false ;;
    esac
    OVERWRITE_SETTING_SMTP_Password=
    if [ -n "$MAIL_USER" ]; then OVERWRITE_SETTING_SMTP_Password=$(cat /run/secrets/mail_password); fi
    export OVERWRITE_SETTING_SMTP_Password
fi
exec "$@"
