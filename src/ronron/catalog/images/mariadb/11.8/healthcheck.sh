#!/bin/bash
# The upstream image's health check: --connect and --innodb_initialized, each must hold. Both ask
# over TCP, where a server that is still being prepared does not listen.
set -uo pipefail

ask() {
    mariadb --defaults-file=/var/lib/mysql/.my-healthcheck.cnf --defaults-group-suffix= \
        --protocol=tcp --host=127.0.0.1 --connect-timeout=3 --skip-column-names --batch \
        --execute="$1"
}

[ $# -gt 0 ] || { echo 'say what to check: --connect, --innodb_initialized' >&2; exit 2; }
for check in "$@"; do
    case $check in
        --connect)
            [ "$(ask 'SELECT 1')" = 1 ] || exit 1 ;;
        --innodb_initialized)
            supported="SELECT support <> 'NO' FROM information_schema.engines WHERE engine = 'InnoDB'"
            [ "$(ask "$supported")" = 1 ] || exit 1 ;;
        *)
            echo "$check: no such check here" >&2
            exit 2 ;;
    esac
done
