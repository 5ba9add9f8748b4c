#!/bin/bash
# Logins and databases, once, on an empty volume (the postgres image runs it). Each login reaches its own database only:
#   paysaga_owner   owns the schema; only `paysaga migrate` uses it
#   paysaga         the application: member of paysaga_app, to which the migrations grant; cannot change the schema
#   temporal        Temporal's server and schema tool
set -euo pipefail

: "${DATABASE_OWNER_PASSWORD:?}" "${DATABASE_PASSWORD:?}" "${TEMPORAL_DATABASE_PASSWORD:?}"

# \getenv and :'…' keep the passwords out of the process list and quote what is special in them.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv owner_password DATABASE_OWNER_PASSWORD
\getenv application_password DATABASE_PASSWORD
\getenv temporal_password TEMPORAL_DATABASE_PASSWORD

CREATE ROLE paysaga_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE paysaga_app NOLOGIN;
CREATE ROLE paysaga LOGIN PASSWORD :'application_password' IN ROLE paysaga_app;
CREATE DATABASE paysaga OWNER paysaga_owner;
REVOKE ALL ON DATABASE paysaga FROM PUBLIC;
GRANT CONNECT ON DATABASE paysaga TO paysaga_app;

CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
REVOKE ALL ON DATABASE temporal, temporal_visibility FROM PUBLIC;
SQL
