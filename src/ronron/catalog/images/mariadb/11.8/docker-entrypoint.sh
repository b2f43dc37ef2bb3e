#!/bin/bash
# The upstream image's interface: MARIADB_* (or MYSQL_*) variables, each also as NAME_FILE, say what
# a first start makes; /docker-entrypoint-initdb.d is run then; later starts leave the data alone.
set -euo pipefail

data=/var/lib/mysql
socket=/run/mysqld/mysqld.sock
# Lies in the data folder from before its first file until all of the first start is done.
unfinished=$data/.ronron-first-start

say() { printf '%s [Entrypoint]: %s\n' "$(date --iso-8601=seconds)" "$1"; }
fail() { say "$1" >&2; exit 1; }

# The value of a setting, from its variable or from the file that NAME_FILE names.
setting() {
    local name variable file
    for name in "MARIADB_$1" "MYSQL_$1"; do
        variable=${!name:-}
        file=${name}_FILE
        if [ -n "${!file:-}" ]; then
            [ -z "$variable" ] || fail "both $name and $file are set"
            variable=$(< "${!file}")
        fi
        if [ -n "$variable" ]; then
            printf '%s' "$variable"
            return
        fi
    done
}

# A text as an SQL literal. It goes to the client by standard input, never by argument.
quoted() {
    local text=${1//\\/\\\\} quote="'"
    printf "'%s'" "${text//$quote/$quote$quote}"
}

identifier() { printf '`%s`' "${1//\`/\`\`}"; }

start_privately() {
    say "starting a server for preparation, without network"
    "$@" --skip-networking --socket="$socket" --expire-logs-days=0 \
        --loose-innodb-buffer-pool-load-at-startup=0 --skip-slave-start &
    server=$!
    for _ in {1..600}; do
        if mariadb-admin --no-defaults --socket="$socket" --user=root ping &> /dev/null; then return; fi
        kill -0 "$server" 2> /dev/null || fail "the server stopped while it was being prepared"
        sleep 0.1
    done
    fail "the server does not answer"
}

# Root's password may be set already, so a file of options, readable by this user alone, carries it.
client() { mariadb --defaults-extra-file="$options" --protocol=socket --socket="$socket" "$@"; }

stop_privately() {
    kill -TERM "$server"
    wait "$server"
}

root_options() {
    options=$(mktemp)
    {
        printf '[client]\nuser=root\n'
        if [ -n "$1" ]; then
            local text=${1//\\/\\\\}
            printf 'password="%s"\n' "${text//\"/\\\"}"
        fi
    } > "$options"
}

health_user() {
    local password file=$data/.my-healthcheck.cnf
    password=$(head -c 24 /dev/urandom | base64 | tr -d '+/=')
    (
        umask 077
        printf '[mariadb-client]\nuser=healthcheck\npassword=%s\n' "$password" > "$file"
    )
    for host in localhost 127.0.0.1 ::1; do
        printf "CREATE OR REPLACE USER healthcheck@'%s' IDENTIFIED BY '%s';\n" "$host" "$password"
        printf "GRANT USAGE ON *.* TO healthcheck@'%s';\n" "$host"
    done
}

first_start() {
    local root_password root_host database user password script
    root_password=$(setting ROOT_PASSWORD)
    root_host=$(setting ROOT_HOST)
    database=$(setting DATABASE)
    user=$(setting USER)
    password=$(setting PASSWORD)
    if [ -n "$(setting RANDOM_ROOT_PASSWORD)" ]; then
        root_password=$(head -c 32 /dev/urandom | base64 | tr -d '+/=')
        say "GENERATED ROOT PASSWORD: $root_password"
    fi
    if [ -z "$root_password" ] && [ -z "$(setting ALLOW_EMPTY_ROOT_PASSWORD)" ]; then
        fail "no data yet, and none of MARIADB_ROOT_PASSWORD(_FILE), MARIADB_RANDOM_ROOT_PASSWORD and
 MARIADB_ALLOW_EMPTY_ROOT_PASSWORD is set"
    fi
    if [ -n "$user" ] && [ -z "$password" ]; then fail "MARIADB_USER is set without a password"; fi

    say "preparing $data"
    touch "$unfinished"
    mariadb-install-db --no-defaults --datadir="$data" --auth-root-authentication-method=normal \
        --skip-test-db --skip-log-bin > /dev/null
    start_privately "$@"
    root_options ''
    if [ -z "${MARIADB_INITDB_SKIP_TZINFO:-}" ]; then
        { printf 'SET SESSION SQL_LOG_BIN=0;\n'; mariadb-tzinfo-to-sql /usr/share/zoneinfo 2> /dev/null; } \
            | client mysql
    fi
    {
        printf 'SET SESSION SQL_LOG_BIN=0;\n'
        # mariadb-install-db makes root accounts without password for this host's other names.
        printf "DELETE FROM mysql.global_priv WHERE host <> 'localhost' OR user = '';\n"
        printf "DELETE FROM mysql.proxies_priv WHERE host <> 'localhost';\nFLUSH PRIVILEGES;\n"
        health_user
        if [ -n "$database" ]; then
            printf 'CREATE DATABASE IF NOT EXISTS %s;\n' "$(identifier "$database")"
        fi
        if [ -n "$user" ]; then
            printf "CREATE USER %s@'%%' IDENTIFIED BY %s;\n" "$(quoted "$user")" "$(quoted "$password")"
            if [ -n "$database" ]; then
                # In a grant's database name, _ and % would be wildcards.
                pattern=${database//_/\\_}
                printf "GRANT ALL ON %s.* TO %s@'%%';\n" "$(identifier "${pattern//%/\\%}")" "$(quoted "$user")"
            fi
        fi
        if [ -n "$root_password" ]; then
            printf "CREATE USER IF NOT EXISTS root@%s IDENTIFIED BY %s;\n" \
                "$(quoted "${root_host:-%}")" "$(quoted "$root_password")"
            printf "GRANT ALL ON *.* TO root@%s WITH GRANT OPTION;\n" "$(quoted "${root_host:-%}")"
            printf "SET PASSWORD FOR root@localhost = PASSWORD(%s);\n" "$(quoted "$root_password")"
        fi
    } | client
    rm "$options"
    root_options "$root_password"
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sh) say "running $script"; . "$script" ;;
            *.sql) say "running $script"; client ${database:+"--database=$database"} < "$script" ;;
            *.sql.gz) say "running $script"; gzip -dc "$script" | client ${database:+"--database=$database"} ;;
            *.sql.zst) say "running $script"; zstd -dc "$script" | client ${database:+"--database=$database"} ;;
        esac
    done
    rm "$options"
    stop_privately
    sync
    rm "$unfinished"
    say "$data is ready"
}

# System tables of an older version are brought up to date when MARIADB_AUTO_UPGRADE asks for it.
upgrade() {
    [ -n "${MARIADB_AUTO_UPGRADE:-}" ] || return 0
    local now before
    now=$(mariadbd --version | sed -E 's/.*Ver ([0-9]+\.[0-9]+).*/\1/')
    before=$(grep -oE '^[0-9]+\.[0-9]+' "$data/mariadb_upgrade_info" "$data/mysql_upgrade_info" \
        -h 2> /dev/null | head -n 1 || true)
    [ "$now" != "$before" ] || return 0
    say "bringing the system tables from ${before:-an unknown version} to $now"
    start_privately "$@" --skip-grant-tables
    mariadb-upgrade --no-defaults --protocol=socket --socket="$socket" --user=root --silent
    stop_privately
}

if [ "${1:-}" = "${1#-}" ]; then :; else set -- mariadbd "$@"; fi
if [ "${1:-}" = mysqld ]; then shift; set -- mariadbd "$@"; fi

if [ "${1:-}" = mariadbd ] && [[ " $* " != *\ --help\ * && " $* " != *\ --version\ * ]]; then
    if [ "$(id -u)" = 0 ]; then
        install -d -o mysql -g mysql "$data" /run/mysqld
        find "$data" ! -user mysql -exec chown mysql: {} +
        exec setpriv --reuid=mysql --regid=mysql --init-groups "$0" "$@"
    fi
    if [ -e "$unfinished" ]; then
        say "the first start was interrupted: beginning again"
        find "$data" -mindepth 1 -delete
    fi
    if [ -d "$data/mysql" ]; then upgrade "$@"; else first_start "$@"; fi
fi
exec "$@"
