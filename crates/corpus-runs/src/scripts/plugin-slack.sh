#!/bin/sh
# Sends a message with curl, by the settings of Drone's plugin for Slack.
set -eu
text=${PLUGIN_MESSAGE:-${PLUGIN_TEMPLATE:-build ${DRONE_BUILD_NUMBER:-}: ${DRONE_BUILD_STATUS:-}}}
body="{\"channel\": \"${PLUGIN_CHANNEL:-}\", \"text\": \"$text\"}"
if [ -n "${PLUGIN_WEBHOOK:-}" ]; then
    curl --silent --show-error --fail --header 'Content-Type: application/json' --data "$body" "$PLUGIN_WEBHOOK"
elif [ -n "${PLUGIN_TOKEN:-}" ]; then
    curl --silent --show-error --fail --header "Authorization: Bearer $PLUGIN_TOKEN" --header 'Content-Type: application/json' \
        --data "$body" https://slack.com/api/chat.postMessage
else
    echo "neither a webhook nor a token is given" >&2
    exit 1
fi
