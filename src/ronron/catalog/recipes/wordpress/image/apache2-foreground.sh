#!/bin/sh
# Apache in the foreground, as Debian sets it up.
set -e
# It asks for variables that are not set.
. /etc/apache2/envvars
exec apache2 -DFOREGROUND "$@"
