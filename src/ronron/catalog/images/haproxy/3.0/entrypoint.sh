#!/bin/sh
# Options are given to haproxy, which runs as master and worker, as in the upstream image.
set -eu
case "${1:-}" in
    -*) set -- haproxy "$@" ;;
esac
if [ "${1:-}" = haproxy ]; then
    shift
    set -- haproxy -W -db "$@"
fi
exec "$@"
