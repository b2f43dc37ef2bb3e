#!/bin/bash
# The upstream image's interface: POSTGRES_* variables, some also as NAME_FILE, say what a first
# start makes; /docker-entrypoint-initdb.d is run then; later starts leave the data alone.
set -euo pipefail

# Lies in the data folder from before its first file until all of the first start is done.
unfinished=$PGDATA/.ronron-first-start

say() { printf '%s [Entrypoint]: %s\n' "$(date --iso-8601=seconds)" "$1"; }
fail() { say "$1" >&2; exit 1; }

# The value of a setting, from its variable or from the file that NAME_FILE names.
setting() {
    local variable=${!1:-} file=${1}_FILE
    if [ -n "${!file:-}" ]; then
        [ -z "$variable" ] || fail "both $1 and $file are set"
        variable=$(< "${!file}")
    fi
    printf '%s' "$variable"
}

client() {
    psql --no-psqlrc --no-password --username="$user" --dbname="$database" --set=ON_ERROR_STOP=1 "$@"
}

first_start() {
    local password method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256} arguments script
    password=$(setting POSTGRES_PASSWORD)
    user=$(setting POSTGRES_USER)
    user=${user:-postgres}
    database=$(setting POSTGRES_DB)
    database=${database:-$user}
    if [ -z "$password" ] && [ "$method" != trust ]; then
        fail "no data yet, and neither POSTGRES_PASSWORD nor POSTGRES_PASSWORD_FILE is set"
    fi
    # Several arguments in one variable, quoted as a shell would have them.
    eval "arguments=($(setting POSTGRES_INITDB_ARGS))"
    if [ -n "${POSTGRES_INITDB_WALDIR:-}" ]; then arguments+=("--waldir=$POSTGRES_INITDB_WALDIR"); fi

    say "preparing $PGDATA"
    chmod 0700 "$PGDATA"
    # initdb wants a folder of its own.
    initdb --pgdata="$unfinished" --username="$user" --pwfile=<(printf '%s\n' "$password") \
        "${arguments[@]}"
    mv "$unfinished"/* "$PGDATA"
    printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"

    # Without network: who waits for the database shall not meet one that is being prepared.
    PGUSER=$user pg_ctl --pgdata="$PGDATA" --wait --options="-c listen_addresses=''" start
    if [ "$database" != postgres ]; then
        printf 'CREATE DATABASE :"name";\n' | database=postgres client --quiet --set=name="$database"
    fi
    export PGPASSWORD=$password
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sh) say "running $script"; if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
            *.sql) say "running $script"; client < "$script" ;;
            *.sql.gz) say "running $script"; gzip -dc "$script" | client ;;
            *.sql.xz) say "running $script"; xz -dc "$script" | client ;;
            *.sql.zst) say "running $script"; zstd -dc "$script" | client ;;
        esac
    done
    unset PGPASSWORD
    PGUSER=$user pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
    rmdir "$unfinished"
    sync
    say "$PGDATA is ready"
}

if [ "${1:-}" != "${1#-}" ]; then set -- postgres "$@"; fi

if [ "${1:-}" = postgres ] && [[ " $* " != *\ --help\ * && " $* " != *\ --version\ * ]]; then
    if [ "$(id -u)" = 0 ]; then
        install -d -o postgres -g postgres -m 0700 "$PGDATA"
        install -d -o postgres -g postgres -m 3775 /run/postgresql
        find "$PGDATA" ! -user postgres -exec chown postgres: {} +
        exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
    fi
    if [ -e "$unfinished" ]; then
        say "the first start was interrupted: beginning again"
        find "$PGDATA" -mindepth 1 -delete
    fi
    if [ ! -s "$PGDATA/PG_VERSION" ]; then first_start; fi
fi
exec "$@"
