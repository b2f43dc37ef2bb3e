#!/bin/bash
# change-password.sh USER DATABASE: gives a user of MongoDB another password while the server runs. The
# old one and the new one come by standard input, a line each. A user has one password: connections that
# are open stay, new ones need the new password.
set -euo pipefail
export CHANGED_USER=$1 CHANGED_DATABASE=$2
IFS= read -r OLD_PASSWORD
IFS= read -r NEW_PASSWORD
export OLD_PASSWORD NEW_PASSWORD

# Passwords go by the environment of this one program, never by argument; what the server says of them
# is not shown, but for the name of its error.
exec mongosh --nodb --quiet /change-password.js
