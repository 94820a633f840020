#!/usr/bin/env bash
# Run by the postgres image on an empty volume: a database, the role that owns its tables, and the role that servers
# connect as. The second owns nothing and is no superuser, so that row level security binds it.
set -euo pipefail
psql --username postgres --dbname postgres --set ON_ERROR_STOP=1 \
  --set owner_password="$(cat /run/passwords/owner)" --set password="$(cat /run/passwords/imprint)" <<'SQL'
CREATE ROLE imprint_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE imprint LOGIN PASSWORD :'password';
CREATE DATABASE imprint OWNER imprint_owner;
SQL
