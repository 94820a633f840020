#!/usr/bin/env bash
# Makes the two database passwords, once, each file readable by the one user that needs it.
set -euo pipefail
umask 077
cd /run/passwords
[ ! -e complete ] || exit 0

password() { head -c 24 /dev/urandom | base64; }

password >superuser
password >imprint
echo "postgres:5432:imprint:imprint:$(cat imprint)" >imprint.pgpass
chown postgres superuser imprint
chown 10001 imprint.pgpass # the user of the server's image
touch complete
