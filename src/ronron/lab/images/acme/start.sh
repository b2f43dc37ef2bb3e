#!/bin/sh
# The name server and the certificate authority of one lab.
# usage: lab-acme DOMAIN SERVER...   (the first server answers for every name in DOMAIN)
set -eu
domain=$1
shift
manager=$1.$domain

mkdir -p /etc/lab
cd /etc/lab

# Pebble's own HTTPS certificate, and the authority that signed it. That authority's key is thrown
# away. Pebble makes the root that it issues from by itself, a new one at each start.
if [ ! -e ca.pem ]; then
    key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc'
    # shellcheck disable=SC2086
    openssl req -x509 $key -keyout ca.key -out new.pem -days 3650 \
        -subj "/CN=Lab $domain" -addext keyUsage=critical,keyCertSign
    # shellcheck disable=SC2086
    openssl req -x509 $key -keyout acme.key -out acme.pem -days 3650 -CA new.pem -CAkey ca.key \
        -subj "/CN=acme.$domain" -addext "subjectAltName=DNS:acme.$domain" \
        -addext basicConstraints=critical,CA:FALSE
    rm ca.key
    mv new.pem ca.pem
fi

cat > pebble.json <<END
{"pebble": {
    "listenAddress": "0.0.0.0:14000",
    "managementListenAddress": "0.0.0.0:15000",
    "certificate": "/etc/lab/acme.pem",
    "privateKey": "/etc/lab/acme.key",
    "httpPort": 80,
    "tlsPort": 443,
    "domainBlocklist": ["refused.$domain"],
    "certificateValidityPeriod": 7776000
}}
END

# Docker knows the address that each server has now; only "every other name" needs to be told.
{
    printf '%s\n' no-resolv no-hosts cache-size=0 max-ttl=1 server=127.0.0.11 "local=/$domain/"
    for server in acme "$@"; do
        echo "server=/$server.$domain/127.0.0.11"
    done
} > dnsmasq.conf

follow_manager() {
    known=
    while :; do
        found=$(getent ahostsv4 "$manager" | { read -r address _ && echo "$address"; }) || found=
        if [ -n "$found" ] && [ "$found" != "$known" ]; then
            [ ! -e /run/dnsmasq.pid ] || kill "$(cat /run/dnsmasq.pid)" || :
            while ! dnsmasq --conf-file=/etc/lab/dnsmasq.conf --pid-file=/run/dnsmasq.pid \
                --user=root --address="/$domain/$found"; do sleep 0.1; done
            known=$found
        fi
        sleep 1
    done
}

rm -f /run/dnsmasq.pid
follow_manager &
exec pebble -config pebble.json -dnsserver 127.0.0.1:53
