#!/usr/bin/env bash
# Makes the layers of the test images from packages of this machine's own distribution, into the folder $1: NAME.tar.gz and NAME.diff, the
# digest of the unpacked layer. What is there is left as it is. Needs root.
#
# Each layer lies over `base`: apt installs its packages in an overlay over it, and what that wrote is the layer.
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"

out=$1
mkdir -p "$out"
exec 9>"$out/lock"
flock 9

# In mounts of its own, so that nothing is left mounted however this ends.
if [[ -z ${LAYERS_INSIDE:-} ]]; then
	LAYERS_INSIDE=1 exec unshare --mount --propagation private bash "$0" "$out"
fi

# Packages by layer.
declare -A packages=(
	[go]="golang-go gcc libc6-dev gotestsum"
	[node]="nodejs npm"
	[java]="default-jdk-headless maven maven-debian-helper libmaven-install-plugin-java gradle"
	[python]="python3 python3-pip python3-venv python3-pytest"
	[docker]="docker.io iptables"
	[data]="postgresql redis-server mariadb-server"
	[c]="gcc g++ libc6-dev cmake"
)
base_packages=ca-certificates,curl,git,make,netbase,procps,iproute2,unzip,xz-utils

scratch=$(mktemp -d "$out/scratch.XXXXXX")
trap 'umount -R "$scratch/root" 2>/dev/null || true; rm -rf "$scratch"' EXIT

# pack NAME FOLDER: the folder becomes the layer. Times and order are always the same, so that equal files are equal layers.
pack() {
	local name=$1 folder=$2
	tar --numeric-owner --sort=name --mtime=@0 --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' --exclude='./run/*' \
		--exclude='./tmp/*' --exclude=./var/lib/apt/lists --exclude='./var/cache/apt/*' --exclude='./var/cache/debconf/*-old' \
		--exclude='./usr/share/doc/*' --exclude='./usr/share/man/*/*' --exclude='./usr/share/locale/*' --exclude=./etc/resolv.conf \
		-C "$folder" -c . | tee >(sha256sum | cut -d ' ' -f 1 >"$scratch/diff") | gzip -1 >"$scratch/layer"
	# The digest comes from a process that nothing waits for.
	until [[ -s $scratch/diff ]]; do sleep 0.05; done
	mv "$scratch/diff" "$out/$name.diff"
	sha256sum <"$scratch/layer" | cut -d ' ' -f 1 >"$out/$name.blob"
	mv "$scratch/layer" "$out/$name.tar.gz"
}

base() {
	local suite
	suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
	mmdebstrap --quiet --mode=root --variant=minbase --include="$base_packages" \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		"$suite" "$scratch/base.root"
	# Services are started by nobody here.
	printf '#!/bin/sh\nexit 101\n' >"$scratch/base.root/usr/sbin/policy-rc.d"
	chmod +x "$scratch/base.root/usr/sbin/policy-rc.d"
	# Some packages link manuals there and fail without.
	mkdir -p "$scratch"/base.root/usr/share/man/man{1..8}
	mv "$scratch/base.root" "$out/base.root"
}

# layer NAME PACKAGE...
layer() {
	local name=$1 folder
	shift
	mkdir -p "$scratch/root" "$scratch/$name.up" "$scratch/$name.work"
	mount -t overlay overlay -o "lowerdir=$out/base.root,upperdir=$scratch/$name.up,workdir=$scratch/$name.work" "$scratch/root"
	for folder in dev proc sys; do mount --rbind "/$folder" "$scratch/root/$folder"; done
	# The machine's own settings and lists of apt, read in place.
	for folder in /etc/apt /var/lib/apt/lists /usr/share/keyrings; do mount --bind "$folder" "$scratch/root$folder"; done
	cp /etc/resolv.conf "$scratch/root/etc/resolv.conf"
	chroot "$scratch/root" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 \
		-o Dpkg::Options::=--force-unsafe-io --no-install-recommends install "$@"
	umount -R "$scratch/root"
	# What an overlay shows as removed by a device, a layer shows by a file of that name.
	find "$scratch/$name.up" -type c -printf '%h\0%f\0' | while IFS= read -r -d '' parent && IFS= read -r -d '' file; do
		rm "$parent/$file"
		touch "$parent/.wh.$file"
	done
	pack "$name" "$scratch/$name.up"
	rm -rf "$scratch/$name.up"
}

[[ -d $out/base.root ]] || base
[[ -s $out/base.tar.gz ]] || pack base "$out/base.root"
for name in "${!packages[@]}"; do
	# shellcheck disable=SC2086 # the packages are words
	[[ -s $out/$name.tar.gz ]] || layer "$name" ${packages[$name]}
done
