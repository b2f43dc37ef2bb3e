#!/bin/sh
# Puts the image's own pages and extensions beside those of the volume, and starts Apache.
set -e

mkdir -p /storage/data /storage/conf
cp -R /var/www/html/data/. /storage/data
for kind in plugins tpl; do
    mkdir -p "/storage/lib/$kind"
    for path in /var/www/html/lib/$kind.core/*; do
        name=${path##*/}
        rm -rf "/storage/lib/$kind/$name"
        ln -s "$path" "/storage/lib/$kind/$name"
    done
done
# It asks for variables that are not set.
. /etc/apache2/envvars
exec apache2 -DFOREGROUND
