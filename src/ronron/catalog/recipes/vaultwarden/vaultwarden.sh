# Read by the image's start script: settings that a variable in the stack cannot hold.
# The password of the database is letters and digits, and goes into a URL as it is.
DATABASE_URL="postgresql://vaultwarden:$(cat /run/secrets/db_password)@db:5432/vaultwarden"
export DATABASE_URL
if [ -z "${SMTP_HOST:-}" ]; then
    unset SMTP_HOST SMTP_PORT SMTP_FROM
else
    case $MAIL_SECURITY in
        tls) export SMTP_SECURITY=force_tls ;;
        starttls) export SMTP_SECURITY=starttls ;;
        none) export SMTP_SECURITY=off ;;
    esac
    if [ -n "${MAIL_USER:-}" ]; then
        SMTP_PASSWORD=$(cat /run/secrets/mail_password)
        export SMTP_PASSWORD SMTP_USERNAME="$MAIL_USER"
    fi
fi
