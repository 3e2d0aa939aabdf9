# Serves a container engine until its input ends, and removes everything of it. $1 is the folder of the engine, $2 an address in its
# network.
#
# The engine has a network, mounts and processes of its own. When the shell in there reads the end of the input, tini, its
# process 1, ends as well; with that the kernel ends whatever ran there, and the mounts go. So nothing has to be counted or asked.
dir=$1
name=${dir##*/}

# What runs inside. /run and /etc/docker are its own, so that two engines share no sockets, locks and settings.
inside='
set -e
dir=$1
name=$2
ip link set lo up
# Where containers reach what runs beside them, such as a registry.
ip address add "$3/32" dev lo
mount -t tmpfs -o mode=755 tmpfs /run
[ ! -d /etc/docker ] || mount -t tmpfs -o mode=755 tmpfs /etc/docker
mount --bind "$dir/hosts" /etc/hosts
mount --bind "$dir/resolv.conf" /etc/resolv.conf
export SSL_CERT_FILE="$dir/ca.pem"
dockerd --config-file "$dir/daemon.json" --host "unix://$dir/docker.sock" --host unix:///run/docker.sock --group 0 \
    --data-root "$dir/data" --exec-root /run/docker --pidfile /run/docker.pid --cgroup-parent "/$name" \
    --exec-opt native.cgroupdriver=cgroupfs --dns "$3" >"$dir/log" 2>&1 &
cat >/dev/null
'

exec 3<&0
unshare --net --pid --fork --kill-child --mount --propagation slave --mount-proc \
    -- tini -s -- sh -c "$inside" sh "$dir" "$name" "$2" <&3 3<&- >"$dir/inside" 2>&1 &
echo $!
exec >/dev/null
wait $!

# The kernel keeps a control group until somebody removes it. A process of it may still be on its way out.
for group in /sys/fs/cgroup/"$name" /sys/fs/cgroup/*/"$name"; do
    tries=0
    while [ -d "$group" ] && [ "$tries" -lt 100 ]; do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
        tries=$((tries + 1))
    done
done
rm -rf "$dir"
