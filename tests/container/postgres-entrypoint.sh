#!/bin/bash
# What the entrypoint of the official image does with a password: it is in POSTGRES_PASSWORD or in the file that
# POSTGRES_PASSWORD_FILE names, but not in both; it is exported, and the name of the file is gone; it is set when the
# volume is empty, and not looked at afterwards.
set -euo pipefail

if [ -n "${POSTGRES_PASSWORD-}" ] && [ -n "${POSTGRES_PASSWORD_FILE-}" ]; then
    echo "POSTGRES_PASSWORD and POSTGRES_PASSWORD_FILE exclude each other" >&2
    exit 1
fi
if [ -n "${POSTGRES_PASSWORD_FILE-}" ]; then
    POSTGRES_PASSWORD=$(<"$POSTGRES_PASSWORD_FILE")
    export POSTGRES_PASSWORD
    unset POSTGRES_PASSWORD_FILE
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD-}" ]; then
        echo "the volume is new and there is no password for it" >&2
        exit 1
    fi
    mkdir -p "$PGDATA"
    initdb --username=postgres --auth=scram-sha-256 --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
        --no-sync --no-instructions >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
fi
exec "$@"
