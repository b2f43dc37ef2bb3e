#!/bin/sh
# n8n's own names for how the relay is spoken to; it encrypts in both ways unless it is told not to.
set -eu

case $MAIL_SECURITY in
    tls) export N8N_SMTP_SSL=true N8N_SMTP_STARTTLS=false ;;
    starttls) export N8N_SMTP_SSL=false N8N_SMTP_STARTTLS=true ;;
    none) export N8N_SMTP_SSL=false N8N_SMTP_STARTTLS=false ;;
esac
if [ -n "${MAIL_USER:-}" ]; then
    export N8N_SMTP_USER="$MAIL_USER" N8N_SMTP_PASS_FILE=/run/secrets/mail_password
fi
exec "$@"
