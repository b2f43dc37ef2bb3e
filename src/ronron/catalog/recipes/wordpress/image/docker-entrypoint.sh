#!/bin/sh
# The first start copies WordPress to its volume, and writes a wp-config.php with keys of its own.
set -eu

case "${1:-}" in
    apache2*) ;;
    *) exec "$@" ;;
esac
cd /var/www/html
# index.php comes last: a copy that was interrupted is made again.
if [ ! -e index.php ]; then
    for path in /usr/src/wordpress/*; do
        case $path in
            */index.php | */wp-config-docker.php) ;;
            *) cp -R "$path" . ;;
        esac
    done
    cp /usr/src/wordpress/index.php index.php.new
    mv index.php.new index.php
fi
if [ ! -s wp-config.php ]; then
    # Each of the eight keys is another one.
    while IFS= read -r line; do
        case $line in
            *@KEY@*) line="${line%%@KEY@*}$(head -c 48 /dev/urandom | base64 --wrap=0)${line#*@KEY@}" ;;
        esac
        printf '%s\n' "$line"
    done < /usr/src/wordpress/wp-config-docker.php > wp-config.php.new
    mv wp-config.php.new wp-config.php
fi
exec "$@"
