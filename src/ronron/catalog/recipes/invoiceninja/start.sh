#!/bin/bash
# Starts Invoice Ninja as user 33: upstream's own script wants to be root.
set -euo pipefail
cd /var/www/html

mkdir -p storage/framework/{sessions,views,cache} storage/app/public storage/logs
# What the web server hands out is on a volume that it shares: renewed with each version.
if ! cmp --silent VERSION.txt public/.version; then
    find public -mindepth 1 -delete
    cp --recursive /tmp/public/. public/
    cp VERSION.txt public/.version
fi

for _ in {1..120}; do
    if (exec 3<> "/dev/tcp/$DB_HOST/$DB_PORT") 2> /dev/null; then break; fi
    sleep 0.5
done
php artisan optimize
php artisan package:discover
php artisan migrate --force

tinker() { php -d opcache.preload= artisan tinker --execute="$1"; }
if [ "$(tinker 'echo App\Models\Account::first() ? "there" : "none";' | tail -n 1)" = none ]; then
    php artisan db:seed --force
    # From within: as a program's argument, the password could be seen by others.
    IN_PASSWORD=$(< /run/secrets/admin_password)
    export IN_PASSWORD
    tinker 'Artisan::call("ninja:create-account", ["--email" => getenv("IN_USER_EMAIL"), "--password" => getenv("IN_PASSWORD")]);'
    unset IN_PASSWORD
fi
exec "$@"
