#!/bin/sh
# Temporal's tables, created or brought to the version of this image; a second run changes nothing.
# The databases are there (deploy/postgres/init.sh); address and login come from SQL_*.
set -eu

for database in temporal temporal_visibility; do
    case $database in
        temporal) folder=temporal ;;
        *) folder=visibility ;;
    esac
    temporal-sql-tool --database "$database" setup-schema --version 0.0
    temporal-sql-tool --database "$database" update-schema --schema-dir "/etc/temporal/schema/postgresql/v12/$folder/versioned"
done
