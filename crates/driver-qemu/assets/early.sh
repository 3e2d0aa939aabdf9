#!/bin/sh
# Runs on the bare tree ($1), before the kernel is installed: an initrd that holds what finds our disk, and no more. It is
# a fifth of the size, and loading it is what a VM under emulation begins with.
set -eu
# Manual pages are left out, and packages such as a JDK make links to them all the same.
mkdir -p "$1/usr/share/man/man1" "$1/usr/share/man/man7"
conf=$1/etc/initramfs-tools
mkdir -p "$conf/conf.d" "$conf/hooks"
printf 'MODULES=list\nCOMPRESS=zstd\n' > "$conf/conf.d/kiln"
cat > "$conf/hooks/kiln" <<'HOOK'
#!/bin/sh
if [ "$1" = prereqs ]; then exit 0; fi
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk ext4
HOOK
chmod 0755 "$conf/hooks/kiln"
