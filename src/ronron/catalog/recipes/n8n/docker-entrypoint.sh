#!/bin/sh
# The upstream image's start: authorities in /opt/custom-certificates are trusted, the rest is n8n's.
set -eu

if [ -d /opt/custom-certificates ]; then
    export NODE_OPTIONS="--use-openssl-ca ${NODE_OPTIONS:-}" SSL_CERT_DIR=/opt/custom-certificates
    c_rehash /opt/custom-certificates
fi
exec n8n "$@"
