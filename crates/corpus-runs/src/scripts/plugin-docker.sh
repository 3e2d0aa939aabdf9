#!/bin/sh
# Builds and pushes an image with the `docker` command, by the settings of Drone's plugin of that kind.
set -eu
: "${PLUGIN_REPO:?the setting repo is missing}"
if [ ! -S /var/run/docker.sock ]; then
    dockerd --host unix:///var/run/docker.sock >/tmp/dockerd.log 2>&1 &
    tries=0
    until docker info >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 150 ] || { cat /tmp/dockerd.log; echo "no docker engine"; exit 1; }
        sleep 0.2
    done
fi
registry=${PLUGIN_REGISTRY:-}
if [ -n "${PLUGIN_PASSWORD:-}" ]; then
    printf '%s' "$PLUGIN_PASSWORD" | docker login --username "${PLUGIN_USERNAME:?the setting username is missing}" --password-stdin $registry
fi
tags=${PLUGIN_TAGS:-${PLUGIN_TAG:-latest}}
if [ "${PLUGIN_AUTO_TAG:-false}" = true ]; then
    suffix=${PLUGIN_AUTO_TAG_SUFFIX:-}
    case ${DRONE_COMMIT_REF:-} in
        refs/tags/*) tags=${DRONE_COMMIT_REF#refs/tags/}; tags=${tags#v}${suffix:+-$suffix} ;;
        *) tags=${suffix:-latest} ;;
    esac
fi
set --
for argument in $(printf '%s' "${PLUGIN_BUILD_ARGS:-}" | tr ',' ' '); do set -- "$@" --build-arg "$argument"; done
for name in $(printf '%s' "${PLUGIN_BUILD_ARGS_FROM_ENV:-}" | tr ',' ' '); do set -- "$@" --build-arg "$name"; done
docker build --file "${PLUGIN_DOCKERFILE:-Dockerfile}" --tag built "$@" "${PLUGIN_CONTEXT:-.}"
[ "${PLUGIN_DRY_RUN:-false}" != true ] || exit 0
for tag in $(printf '%s' "$tags" | tr ',' ' '); do
    docker tag built "$PLUGIN_REPO:$tag"
    docker push "$PLUGIN_REPO:$tag"
    docker rmi "$PLUGIN_REPO:$tag"
done
