#!/bin/bash
# change-password.sh accept|drop USER: changes a database user's password while the database runs.
# The old one and the new one come by standard input, a line each. `accept` lets both work, `drop`
# the new one alone. Works in the upstream image too.
set -euo pipefail
step=$1 user=$2
IFS= read -r old
IFS= read -r new

# A text as an SQL literal. It goes to the client by standard input, never by argument.
quoted() {
    local text=${1//\\/\\\\} quote="'"
    printf "'%s'" "${text//$quote/$quote$quote}"
}
by() { printf 'mysql_native_password USING PASSWORD(%s)' "$(quoted "$1")"; }

MYSQL_PWD=$(< /run/secrets/db_root_password)
export MYSQL_PWD
# The server's own words could quote what it was told: its error numbers must do.
client() {
    {
        mariadb --no-defaults --user=root --batch --skip-column-names 2>&1 >&3 |
            sed -E 's/^(ERROR [0-9]+ \([0-9A-Z]+\)).*/\1/' >&2
    } 3>&1
}

case $step in
    accept) way="$(by "$new") OR $(by "$old")" ;;
    drop) way=$(by "$new") ;;
    *) echo "change-password.sh: $step: accept or drop" >&2; exit 2 ;;
esac
hosts=$(printf 'SELECT host FROM mysql.user WHERE user = %s;\n' "$(quoted "$user")" | client)
[ -n "$hosts" ] || { echo "the database has no user $user" >&2; exit 1; }
while IFS= read -r host; do
    printf 'ALTER USER %s@%s IDENTIFIED VIA %s;\n' "$(quoted "$user")" "$(quoted "$host")" "$way"
done <<< "$hosts" | client
