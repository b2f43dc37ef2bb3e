#!/bin/sh
# The upstream image's start: what the content folder lacks is laid in, and Ghost runs as node.
set -eu

if [ "$*" = 'node current/index.js' ]; then
    if [ "$(id -u)" = 0 ]; then
        find "$GHOST_CONTENT" ! -user node -exec chown node {} +
        exec setpriv --reuid=node --regid=node --init-groups "$0" "$@"
    fi
    for source in "$GHOST_INSTALL"/content.orig/*/ "$GHOST_INSTALL"/content.orig/themes/*/; do
        source=${source%/}
        target=$GHOST_CONTENT${source#"$GHOST_INSTALL/content.orig"}
        if [ ! -e "$target" ]; then
            # Renamed when it is whole: an interrupted copy is not taken for the real thing.
            rm -rf "$target.new"
            cp -R "$source" "$target.new"
            mv "$target.new" "$target"
        fi
    done
fi

exec "$@"
