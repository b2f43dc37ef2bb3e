#!/bin/sh
# Makes what a virtual machine starts from, in the empty folder $1: disk (a Debian 13 with what
# provisioning would install, since that takes long under emulation), kernel, initrd, and busybox.
set -eu
cd "$1"
packages=apparmor,auditd,btrfs-progs,busybox-static,ca-certificates,cpio,dbus,docker-cli,docker.io
packages=$packages,e2fsprogs,fail2ban,iproute2,iptables,kmod,linux-image-cloud-amd64,lvm2,lynis,nfs-common
packages=$packages,nfs-kernel-server,nftables,openssh-client,openssh-server,python3,python3-systemd
packages=$packages,python3-venv,systemd-sysv,systemd-timesyncd,udev,unattended-upgrades,xfsprogs
mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
    --essential-hook='echo MODULES=list >"$1/etc/initramfs-tools/conf.d/vm"' \
    trixie root

# What takes long to start and has nothing to do here. Provisioning enables what it needs.
for unit in docker.service docker.socket containerd nfs-server rpcbind.service rpcbind.socket \
    rpc-statd-notify apparmor auditd audit-rules fail2ban unattended-upgrades lvm2-monitor e2scrub_reap \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer \
    lynis.timer; do
    chroot root systemctl --quiet disable "$unit" 2>/dev/null || :
done
chroot root systemctl --quiet enable systemd-networkd systemd-network-generator 2>/dev/null
# Of Debian's hundred profiles each takes seconds to load there; Docker loads its own by itself.
chroot root systemctl --quiet mask rpc-statd-notify.service apparmor.service \
    systemd-networkd-wait-online.service systemd-pstore.service modprobe@drm.service 2>/dev/null
# These look for what is not there, at each start and whenever systemd reads its units.
mkdir -p root/etc/systemd/system-generators
for generator in debug getty gpt-auto hibernate-resume rc-local run ssh system-update sysv tpm2; do
    ln -s /dev/null "root/etc/systemd/system-generators/systemd-$generator-generator"
done
rm -f root/etc/ssh/ssh_host_*
: >root/etc/machine-id
# No name server is asked: the computer's own may be out of reach, and each question takes seconds.
: >root/etc/resolv.conf

# Modules are unpacked here: there each takes a while.
find root/usr/lib/modules -name '*.ko.xz' -exec xz -d {} +
chroot root depmod "$(ls root/usr/lib/modules)"

# An initrd of its own: Debian's takes longer to unpack than this system to start.
mkdir -p root/initrd/bin
cp root/bin/busybox root/initrd/bin/
cp root/usr/lib/modules/*/kernel/drivers/block/virtio_blk.ko root/initrd/
cat >root/initrd/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mkdir /dev /new
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox insmod /virtio_blk.ko
until [ -b /dev/vda ]; do /bin/busybox usleep 10000; done
/bin/busybox mount -t ext4 /dev/vda /new
/bin/busybox umount /dev
exec /bin/busybox switch_root /new /sbin/init
INIT
chmod +x root/initrd/init
chroot root sh -c 'cd /initrd && find . | cpio --quiet -o -H newc' >initrd
rm -r root/initrd
cp root/boot/vmlinuz-* kernel
cp root/bin/busybox busybox
# Nothing is newer than what was made of it: no cache has to be made anew at a start.
touch root/etc/.updated root/var/.updated
truncate -s 6G disk
mke2fs -q -t ext4 -F -d root disk
rm -r root
