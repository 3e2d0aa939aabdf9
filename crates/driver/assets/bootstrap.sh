#!/bin/sh
# Puts the agent in place and starts it. cloud-init runs it once, as root, on the first boot.
# The ways to the binary, in order: it is there already; a disk labelled CIDATA carries it; a URL serves it.
# Whatever the way, the file is used only if its SHA-256 is the expected one.
set -u
root=${KILN_ROOT:-}
. "$root/etc/kiln/bootstrap.conf"
bin=$root/usr/local/bin/kiln-agent

say() {
    echo "kiln-bootstrap: $*"
    if [ -z "$root" ]; then echo "kiln-bootstrap: $*" > /dev/console 2> /dev/null || :; fi
}

expected() { [ -f "$1" ] && [ "$(sha256sum "$1" | cut -d ' ' -f 1)" = "$KILN_AGENT_SHA256" ]; }

put_in_place() {
    cp "$1" "$bin.new" && chmod 0755 "$bin.new" && expected "$bin.new" && mv -f "$bin.new" "$bin"
}

from_disk() {
    device=$(blkid -L CIDATA || blkid -L cidata) || return 1
    mount_point=$(mktemp -d) || return 1
    result=1
    if mount -o ro "$device" "$mount_point"; then
        if [ -f "$mount_point/kiln-agent" ]; then put_in_place "$mount_point/kiln-agent" && result=0; fi
        umount "$mount_point"
    fi
    rmdir "$mount_point"
    return $result
}

fetch() {
    if command -v curl > /dev/null; then
        curl --fail --silent --show-error --location --connect-timeout 10 --max-time 120 --output "$2" "$1"
    elif command -v wget > /dev/null; then
        wget -q -T 30 -O "$2" "$1"
    else
        python3 -c 'import sys, urllib.request; urllib.request.urlretrieve(sys.argv[1], sys.argv[2])' "$1" "$2"
    fi
}

from_url() {
    [ -n "$KILN_AGENT_URL" ] || return 1
    attempt=1
    while [ "$attempt" -le 5 ]; do
        if fetch "$KILN_AGENT_URL" "$bin.download" && put_in_place "$bin.download"; then
            rm -f "$bin.download"
            return 0
        fi
        say "attempt $attempt to fetch the agent failed"
        attempt=$((attempt + 1))
        sleep 2
    done
    rm -f "$bin.download"
    return 1
}

mkdir -p "$root/usr/local/bin"
if expected "$bin"; then
    say "the agent is installed already"
elif from_disk; then
    say "the agent came from the seed disk"
elif from_url; then
    say "the agent came from its URL"
else
    say "no agent with SHA-256 $KILN_AGENT_SHA256: not installed, not on a disk labelled CIDATA, not at '$KILN_AGENT_URL'"
    exit 1
fi
if command -v restorecon > /dev/null; then restorecon -R "$bin" "$root/etc/kiln" || :; fi
# By hand what `systemctl enable` does: that would reload everything a second time.
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -sf ../kiln-agent.service "$root/etc/systemd/system/multi-user.target.wants/kiln-agent.service"
timer=
if [ -n "$KILN_MAX_AGE_S" ]; then timer=kiln-max-age.timer; fi
systemctl daemon-reload
# shellcheck disable=SC2086 # No timer is no word.
systemctl restart --no-block kiln-agent.service kiln-settled.service $timer
