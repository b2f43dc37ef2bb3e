#!/bin/sh
# Run by upstream's entrypoint once Joomla is set up; by its name it knows that this is Apache.
set -eu

php /settings.php
unset JOOMLA_ADMIN_PASSWORD
exec apache2-foreground
