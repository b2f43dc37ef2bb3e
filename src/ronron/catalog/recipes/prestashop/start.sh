#!/bin/bash
# Starts PrestaShop as user 33: upstream's own script wants to be root, and hands passwords to programs
# as arguments. Works in upstream's image, where the shop's files are below /tmp.
set -euo pipefail
cd "${SHOP:=/var/www/html}"

if [ ! -e .copied ]; then
    echo "Copying PrestaShop to its volume"
    cp --recursive --no-target-directory "${SOURCE:=/tmp/data-ps/prestashop}" .
    touch .copied
fi
# Under the name "admin" PrestaShop would refuse to be administered.
if [ -d admin ]; then
    if [ -e "$ADMIN_FOLDER" ]; then
        echo "start.sh: PrestaShop has a folder $ADMIN_FOLDER itself: choose another name for the parameter admin_folder" >&2
        exit 1
    fi
    mv admin "$ADMIN_FOLDER"
fi
# The name is read from the volume: it stays what it was at the first start.
if [ ! -d "$ADMIN_FOLDER" ]; then
    echo "start.sh: there is no folder $ADMIN_FOLDER: the parameter admin_folder cannot change once the shop is there" >&2
    exit 1
fi

for _ in {1..120}; do
    if (exec 3<> "/dev/tcp/$DB_SERVER/3306") 2> /dev/null; then break; fi
    sleep 0.5
done
if [ -d install ]; then
    # It empties the database first: a first start that was interrupted begins anew.
    php -d memory_limit=-1 /install.php
    rm -r install
fi
php /settings.php
exec "$@"
