#!/bin/sh
# Joomla's image reads the database's password from a file, the first account's not.
set -eu

JOOMLA_ADMIN_PASSWORD=$(cat /run/secrets/admin_password)
export JOOMLA_ADMIN_PASSWORD
exec "$@"
