#!/bin/sh
# Makes the database and its user where there is no data yet, then becomes the server: `first-start.sh mysqld …`.
set -eu
data=/var/lib/mysql
if [ ! -d "$data/mysql" ]; then
    umask 077
    # The password is made by ronron: letters and digits.
    {
        echo "CREATE DATABASE rows_kept;"
        echo "CREATE USER app@'%' IDENTIFIED BY '$(cat /run/secrets/db_password)';"
        echo "GRANT ALL ON rows_kept.* TO app@'%';"
    } > /tmp/first.sql
    "$@" --initialize-insecure --init-file=/tmp/first.sql
    rm /tmp/first.sql
fi
exec "$@"
