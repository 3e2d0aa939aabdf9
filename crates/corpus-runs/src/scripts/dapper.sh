#!/bin/sh
# Builds the image that Dockerfile.dapper describes, runs it on a copy of the sources, and takes out what it made.
set -eu
image=dapper-$(basename "$PWD"):$$
name=dapper-$$
trap 'docker rm --force "$name" >/dev/null 2>&1; docker rmi "$image" >/dev/null 2>&1' EXIT
docker build --file Dockerfile.dapper --tag "$image" .
get() {
    docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$image" | sed -n "s/^$1=//p"
}
source=$(get DAPPER_SOURCE)
outputs=$(get DAPPER_OUTPUT)
names=$(get DAPPER_ENV)
arguments=$*
set --
for variable in $names; do set -- "$@" --env "$variable"; done
docker create --name "$name" "$@" "$image" $arguments >/dev/null
docker cp . "$name:$source"
docker start --attach "$name"
for output in $outputs; do
    rm -rf "$output"
    docker cp "$name:$source/$output" "$output"
done
