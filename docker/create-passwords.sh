#!/usr/bin/env bash
# Makes the three database passwords, once, each file readable by the one user that needs it.
set -euo pipefail
umask 077
cd /run/passwords
[ ! -e complete ] || exit 0

password() { head -c 24 /dev/urandom | base64; }

for role in superuser owner imprint; do password >"$role"; done
echo "postgres:5432:imprint:imprint_owner:$(cat owner)" >owner.pgpass
echo "postgres:5432:imprint:imprint:$(cat imprint)" >imprint.pgpass
chown postgres superuser owner imprint
chown 10001 owner.pgpass imprint.pgpass # the user of the server's image
touch complete
