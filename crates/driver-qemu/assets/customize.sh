#!/bin/sh
# Settles a freshly unpacked Debian or Ubuntu tree into an image for throw-away VMs. Run by mmdebstrap with the tree as $1.
set -eu
tree=$1

# The root file system is the whole disk, without a partition table, found by its label.
echo 'LABEL=root / ext4 defaults,noatime 0 1' > "$tree/etc/fstab"
echo kiln > "$tree/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 kiln\n::1 localhost ip6-localhost ip6-loopback\n' > "$tree/etc/hosts"
# Empty, so that each first boot makes its own.
: > "$tree/etc/machine-id"
rm -f "$tree/var/lib/dbus/machine-id" "$tree/var/lib/systemd/random-seed"

# The network comes from networkd, so that cloud-init need not render it: one DHCP card, no matter how it is called.
mkdir -p "$tree/etc/systemd/network" "$tree/etc/cloud/cloud.cfg.d"
cat > "$tree/etc/systemd/network/80-kiln.network" <<'UNIT'
[Match]
Name=en* eth*

[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no

[DHCPv4]
ClientIdentifier=mac
UNIT
cat > "$tree/etc/cloud/cloud.cfg.d/90-kiln.cfg" <<'CFG'
datasource_list: [ NoCloud, Ec2, None ]
network: { config: disabled }
# What a VM for one stage needs of cloud-init. The rest (packages, locales, SSH keys, boot loaders) costs seconds each.
cloud_init_modules: [ seed_random, bootcmd, write-files, growpart, resizefs, set_hostname, users-groups ]
cloud_config_modules: [ runcmd ]
cloud_final_modules: [ scripts-user ]
CFG
echo LANG=C.UTF-8 > "$tree/etc/default/locale"
chroot "$tree" systemctl enable systemd-networkd.service systemd-resolved.service > /dev/null 2>&1
ln -sf ../run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"

# A VM for one stage needs no environment of Python for itself: `pip install` works as in a container image.
printf '[global]\nbreak-system-packages = true\nroot-user-action = ignore\ndisable-pip-version-check = true\n' > "$tree/etc/pip.conf"

# Work that only a long-lived machine needs, and that would start in the middle of somebody's step.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    dpkg-db-backup.timer systemd-tmpfiles-clean.timer motd-news.timer man-db.timer logrotate.timer \
    systemd-pstore.service getty@tty1.service; do
    ln -sf /dev/null "$tree/etc/systemd/system/$unit"
done
# Logs of a machine that lives for one stage stay in its memory.
mkdir -p "$tree/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n' > "$tree/etc/systemd/journald.conf.d/kiln.conf"

# The options of the build (no recommended packages, the host's proxy) are not those of a step that installs something.
rm -f "$tree/etc/apt/apt.conf.d/99mmdebstrap"
# Not /tmp of the tree: mmdebstrap keeps its configuration of apt there, and without it cleans up the host's lists.
rm -rf "$tree"/var/cache/apt/*.bin "$tree"/var/cache/apt/archives/*.deb "$tree"/var/log/*.log
