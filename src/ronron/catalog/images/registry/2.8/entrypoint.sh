#!/bin/sh
# A configuration file, or one of the registry's own commands, as in the upstream image.
set -eu
case "${1:-}" in
    *.yaml | *.yml) set -- registry serve "$@" ;;
    serve | garbage-collect | help | -*) set -- registry "$@" ;;
esac
exec "$@"
