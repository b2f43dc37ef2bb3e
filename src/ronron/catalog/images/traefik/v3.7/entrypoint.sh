#!/bin/sh
# `--option …` and Traefik's own commands are given to traefik, as in the upstream image.
set -eu
case "${1:-}" in
    -* | healthcheck | version) set -- traefik "$@" ;;
esac
exec "$@"
