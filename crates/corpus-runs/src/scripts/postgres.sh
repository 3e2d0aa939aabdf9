#!/bin/sh
set -eu
programs=$(echo /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/served
mkdir -p "$data"
chown postgres "$data"
as() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }
printf '%s' "${POSTGRES_PASSWORD:-}" >/tmp/password
as "$programs/initdb" --pgdata "$data" --username "${POSTGRES_USER:-postgres}" --auth-local trust --auth-host trust >/dev/null
echo 'host all all all trust' >>"$data/pg_hba.conf"
name=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
if [ "$name" != postgres ]; then
    echo "CREATE DATABASE \"$name\"" | as "$programs/postgres" --single -D "$data" postgres >/dev/null
fi
exec setpriv --reuid postgres --regid postgres --init-groups "$programs/postgres" -D "$data" -c 'listen_addresses=*' -k /tmp
