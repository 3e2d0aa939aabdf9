#!/bin/sh
# Packs files with tar and tells their digest. Its settings: `source`, `target`.
set -eu
: "${PLUGIN_SOURCE:?the setting source is missing}"
: "${PLUGIN_TARGET:?the setting target is missing}"
# shellcheck disable=SC2086 # a list of names
tar -czf "$PLUGIN_TARGET" $PLUGIN_SOURCE
echo "packed $(tar -tzf "$PLUGIN_TARGET" | wc -l) files into $PLUGIN_TARGET"
sha256sum "$PLUGIN_TARGET"
