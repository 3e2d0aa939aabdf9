#!/usr/bin/env bash
# Makes the one layer of the demo's images from packages of this machine's own distribution, into the folder $1: demo.tar.gz, demo.diff and
# demo.blob, see layers.sh. It is small, because VMs that are emulated load it.
# Needs root, on Debian 12.
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

out=$1
mkdir -p "$out"
exec 9>"$out/lock"
flock 9
[[ ! -s $out/demo.blob ]] || exit 0

# What these need is named as well: the archive's own resolver would bring a whole system.
packages=(busybox-static libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libbz2-1.0 liblzma5 libssl3 libffi8 libsqlite3-0 libuuid1
	python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3-redis python3-async-timeout python3-packaging
	python3-setuptools python3-pkg-resources python3-distutils python3-lib2to3 media-types tzdata
	redis-server redis-tools libjemalloc2 liblzf1 liblua5.1-0 lua-bitop lua-cjson libatomic1 libsystemd0 libcap2 libgcrypt20
	libgpg-error0 liblz4-1 libzstd1
	socat libwrap0 libnsl2 libtirpc3 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libcom-err2 libkrb5support0 libkeyutils1
	libreadline8 libtinfo6)
scratch=$(mktemp -d "$out/scratch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch"/{debs,root}
(cd "$scratch/debs" && apt-get -q -o APT::Sandbox::User=root download "${packages[@]}")
for package in "$scratch"/debs/*.deb; do dpkg-deb -x "$package" "$scratch/root"; done
rm -rf "$scratch"/root/usr/share/{doc,man,locale,lintian,bug}
mkdir -p "$scratch"/root/{bin,etc,tmp,root,run,dev,proc,sys}
chmod 1777 "$scratch/root/tmp"
for tool in $("$scratch/root/bin/busybox" --list); do
	[[ -e $scratch/root/bin/$tool || -e $scratch/root/usr/bin/$tool ]] || ln -s busybox "$scratch/root/bin/$tool"
done
ln -sf python3.11 "$scratch/root/usr/bin/python3"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n' >"$scratch/root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$scratch/root/etc/group"
for program in python3.11 redis-server redis-cli socat; do
	if chroot "$scratch/root" /lib64/ld-linux-x86-64.so.2 --list "/usr/bin/$program" | grep 'not found'; then
		echo "$program lacks a library: its package is not in the list of $0" >&2
		exit 1
	fi
done

tar --numeric-owner --sort=name --mtime=@0 --exclude='./dev/*' --exclude='./run/*' --exclude=./etc/resolv.conf \
	-C "$scratch/root" -cf "$scratch/layer.tar" .
sha256sum <"$scratch/layer.tar" | cut -d ' ' -f 1 >"$out/demo.diff"
gzip -1 "$scratch/layer.tar"
sha256sum <"$scratch/layer.tar.gz" | cut -d ' ' -f 1 >"$scratch/blob"
mv "$scratch/layer.tar.gz" "$out/demo.tar.gz"
mv "$scratch/blob" "$out/demo.blob"
