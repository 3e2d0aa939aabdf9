# Serves a container engine until its input ends, and removes everything of it. $1 is the folder of the engine, $2 its addresses in its
# network, of which the first resolves names. Where there is a folder `machine` in the folder, the engine has a root of its own.
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
for address in $3; do ip address add "$address/32" dev lo; done
if [ -d "$dir/machine" ]; then
    # The root of the host, with whatever is written kept aside. What is written much to lies on the disk.
    mount -t tmpfs tmpfs "$dir/machine"
    cd "$dir/machine"
    mkdir upper work root
    mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
    for folder in proc sys dev; do mount --rbind "/$folder" "root/$folder"; done
    for folder in tmp harness drone var/tmp; do
        mkdir -p "$dir/disk/$folder" "root/$folder"
        chmod 1777 "$dir/disk/$folder"
        mount --bind "$dir/disk/$folder" "root/$folder"
    done
    mkdir -p "root$dir"
    mount --bind "$dir" "root$dir"
    mkdir root/before
    cd root
    pivot_root . before
    cd /
    umount -l /before
fi
mount -t tmpfs -o mode=755 tmpfs /run
[ ! -d /etc/docker ] || mount -t tmpfs -o mode=755 tmpfs /etc/docker
mount --bind "$dir/hosts" /etc/hosts
mount --bind "$dir/resolv.conf" /etc/resolv.conf
export SSL_CERT_FILE="$dir/ca.pem"
dockerd --config-file "$dir/daemon.json" --host "unix://$dir/docker.sock" --host unix:///run/docker.sock --group 0 \
    --data-root "$dir/data" --exec-root /run/docker --pidfile /run/docker.pid --cgroup-parent "/$name" \
    --exec-opt native.cgroupdriver=cgroupfs --dns "${3%% *}" >"$dir/log" 2>&1 &
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
