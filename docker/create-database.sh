#!/usr/bin/env bash
# Run by the postgres image on an empty volume: a database whose owner is no superuser, so that row level security binds it.
set -euo pipefail
psql --username postgres --dbname postgres --set ON_ERROR_STOP=1 --set password="$(cat /run/passwords/imprint)" <<'SQL'
CREATE ROLE imprint LOGIN PASSWORD :'password';
CREATE DATABASE imprint OWNER imprint;
SQL
