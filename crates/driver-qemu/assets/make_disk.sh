#!/bin/sh
# Turns the tree in root.tar into a disk, a kernel and an initrd, all in the directory $1; $2 is the disk's size in GiB.
# Run as root or under fakeroot: either keeps owners and modes of the tree.
set -eu
# What the tree holds must be readable in the VM, whatever umask the caller has.
umask 022
# A plain user's PATH may lack the folders where mkfs lives.
PATH=$PATH:/usr/sbin:/sbin
cd "$1"
mkdir tree
tar -C tree -xf root.tar --exclude='./dev/*'
rm root.tar
kernel=$(ls -v tree/boot/vmlinuz-* | tail -n 1)
initrd=$(ls -v tree/boot/initrd.img-* | tail -n 1)
cp "$kernel" vmlinuz
cp "$initrd" initrd
chmod 0644 vmlinuz initrd
# QEMU loads the kernel from outside, so the tree needs none.
rm -f tree/boot/vmlinuz-* tree/boot/initrd.img-* tree/boot/System.map-*
truncate -s "$2G" disk.raw
# No journal: the disk of a throw-away VM is never recovered. Nothing is left for the guest's kernel to initialise later.
mkfs.ext4 -q -F -L root -O ^has_journal -m 0 -E lazy_itable_init=0 -d tree disk.raw
rm -rf tree
