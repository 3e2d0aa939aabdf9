#!/bin/sh
# The first process of a VM that only loads container images into its disk: no systemd, no network, no agent. The disk $1
# is the archive that holds this script, `expected` and what `docker load` reads. Says on the console how it ended.
set -u
archive=$1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
log=/run/dockerd.log
: > "$log"

say() { echo "kiln: $*" > /dev/console; }

power_off() {
    sync
    echo o > /proc/sysrq-trigger
    sleep 60
}

fail() {
    tail -n 15 "$log" > /dev/console
    say "containers not loaded: $*"
    power_off
}

# By its API: the command `docker` takes seconds to start under emulation.
api() {
    path=$1
    shift
    curl --silent --show-error --fail --unix-socket /run/docker.sock "$@" "http://engine/$path" 2>> "$log"
}

command -v dockerd > /dev/null || fail "the image has no Docker Engine"
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up

# Waits until a command succeeds, while the process $1 lives.
await() {
    process=$1
    shift
    attempt=1
    until "$@" > /dev/null 2>&1; do
        if ! kill -0 "$process" 2> /dev/null; then fail "the engine ended"; fi
        if [ "$attempt" -gt 1200 ]; then fail "the engine does not answer"; fi
        attempt=$((attempt + 1))
        sleep 0.5
    done
}

# By itself: dockerd gives the one that it starts 15 s and then ends, and a busy host needs longer.
containerd >> "$log" 2>&1 &
runtime=$!
await "$runtime" test -S /run/containerd/containerd.sock
dockerd --iptables=false --ip6tables=false --bridge=none --containerd=/run/containerd/containerd.sock >> "$log" 2>&1 &
engine=$!
await "$engine" api _ping
say "engine up"
api images/load?quiet=1 --request POST --header "Content-Type: application/x-tar" --upload-file - < "$archive" >> "$log" ||
    fail "the engine refuses the archive"
tar -xOf "$archive" expected > /run/expected || fail "the archive has no list"
while read -r reference id; do
    found=$(api "images/$reference/json" | jq -r .Id)
    [ "$found" = "$id" ] || fail "$reference is '$found' and not $id"
done < /run/expected
# What an earlier tag stood for is not needed any more.
api images/prune --request POST >> "$log" || fail "old images stay"
kill "$engine"
wait "$engine"
kill "$runtime"
wait "$runtime"
# Each clone makes its own.
rm -f /etc/docker/key.json
sync
fstrim / || :
mount -o remount,ro / || fail "the disk is still being written"
say "containers loaded"
power_off
