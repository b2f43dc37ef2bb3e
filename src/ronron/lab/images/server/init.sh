#!/bin/sh
# First process of a lab server: make the container look like an ordinary machine, then be systemd.
# usage: init RESOLVER AUTHORIZED_KEY
set -eu
resolver=$1
authorized_key=$2

# Docker binds these three files over the server's own; tools that replace them by renaming would
# fail. Below the binds are ordinary files, kept across restarts.
for file in /etc/hosts /etc/hostname /etc/resolv.conf; do
    content=$(cat "$file")
    umount "$file"
    [ -s "$file" ] || printf '%s\n' "$content" > "$file"
done
rm -f /etc/resolv.conf
echo "nameserver $resolver" > /etc/resolv.conf

# Docker keeps the kernel's settings read-only, for they are the host's; those of this server's own
# network are not.
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,rw /proc/sys/net

# Docker mounts the server's own part of the control groups read-only: of each hierarchy with
# version 1, of the only one with version 2.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    mount -o remount,bind,rw /sys/fs/cgroup
else
    for hierarchy in /sys/fs/cgroup/*/; do
        mount -o remount,bind,rw "$hierarchy"
    done
fi

[ -e /dev/fuse ] || mknod /dev/fuse c 10 229

[ -e /etc/ssh/ssh_host_ed25519_key ] ||
    ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/ssh/ssh_host_ed25519_key
[ -e /root/.ssh/authorized_keys ] || {
    install -d -m 700 /root/.ssh
    echo "$authorized_key" > /root/.ssh/authorized_keys
}

exec /sbin/init
