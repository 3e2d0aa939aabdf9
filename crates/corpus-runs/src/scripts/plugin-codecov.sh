#!/bin/sh
# Sends reports of coverage with curl, by the settings of Drone's plugin for Codecov.
set -eu
: "${PLUGIN_TOKEN:?the setting token is missing}"
set -- $(printf '%s' "${PLUGIN_FILES:-}" | tr ',' ' ')
# Without names, what Go, Python and others leave by their usual names.
[ "$#" -gt 0 ] || set -- $(find . -type f \( -name 'coverage.*' -o -name '*.coverprofile' -o -name lcov.info \))
[ "$#" -gt 0 ] || { echo "there are no reports" >&2; exit 1; }
for report; do
    echo "sends $report"
    curl --silent --show-error --fail --header "Authorization: token $PLUGIN_TOKEN" --data-binary "@$report" https://codecov.io/upload/v4
done
