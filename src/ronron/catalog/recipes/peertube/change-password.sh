#!/bin/bash
# change-password.sh USER: gives a user of PostgreSQL, who has a database of the same name, another
# password while the server runs. The old one and the new one come by standard input, a line each.
# A user has one password: connections that are open stay, new ones need the new password.
set -euo pipefail
user=$1 quote="'"
IFS= read -r _
IFS= read -r new

# It goes to the client by standard input, never by argument; and neither an error in the server's
# log nor one on the screen may quote it.
{
    echo 'SET log_statement = none; SET log_min_error_statement = panic; SET log_min_duration_statement = -1;'
    printf 'ALTER ROLE "%s" PASSWORD %s;\n' "$user" "$quote${new//$quote/$quote$quote}$quote"
} | psql --host=127.0.0.1 --username="$user" --dbname="$user" --no-psqlrc --quiet \
    --set=ON_ERROR_STOP=1 --set=VERBOSITY=sqlstate
