#!/bin/sh
# Makes and pushes a list of images with `docker manifest`, by the settings of Drone's plugin of that kind. A specification is read as
# far as the lines `image:` and `- image:` go.
set -eu
export DOCKER_CLI_EXPERIMENTAL=enabled
if [ -n "${PLUGIN_PASSWORD:-}" ]; then
    printf '%s' "$PLUGIN_PASSWORD" | docker login --username "${PLUGIN_USERNAME:?the setting username is missing}" --password-stdin
fi
if [ -n "${PLUGIN_SPEC:-}" ]; then
    target=$(sed -n 's/^image: *//p' "$PLUGIN_SPEC")
    parts=$(sed -n 's/^ *- *image: *//p' "$PLUGIN_SPEC")
else
    target=${PLUGIN_TARGET:?neither spec nor target}
    parts=
    for platform in $(printf '%s' "$PLUGIN_PLATFORMS" | tr ',' ' '); do
        parts="$parts $(printf '%s' "$PLUGIN_TEMPLATE" | sed "s/OS/${platform%%/*}/; s/ARCH/${platform#*/}/")"
    done
fi
there=
for part in $parts; do
    if docker manifest inspect "$part" >/dev/null 2>&1; then
        there="$there $part"
    elif [ "${PLUGIN_IGNORE_MISSING:-false}" = true ]; then
        echo "$part is not there, and left out"
    else
        echo "$part is not there" >&2
        exit 1
    fi
done
# shellcheck disable=SC2086 # a list of names
docker manifest create "$target" $there
docker manifest push "$target"
