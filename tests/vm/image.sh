#!/bin/sh
# Makes what a virtual machine starts from, in the empty folder $1: disk (a Debian 13 with what
# provisioning would install, since that takes long under emulation), kernel and initrd.
set -eu
cd "$1"
packages=apparmor,btrfs-progs,busybox-static,ca-certificates,cpio,dbus,docker-cli,docker.io,e2fsprogs
packages=$packages,iproute2,iptables,kmod,linux-image-cloud-amd64,lvm2,nfs-common,nfs-kernel-server
packages=$packages,nftables,openssh-client,openssh-server,python3,python3-venv,systemd-sysv,systemd-timesyncd
packages=$packages,udev,unattended-upgrades,xfsprogs
mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
    --essential-hook='echo MODULES=list >"$1/etc/initramfs-tools/conf.d/vm"' \
    trixie root

# What takes long to start and has nothing to do here. Provisioning enables what it needs.
for unit in docker.service docker.socket containerd nfs-server rpcbind.service rpcbind.socket \
    rpc-statd-notify apparmor unattended-upgrades lvm2-monitor e2scrub_reap apt-daily.timer \
    apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer; do
    chroot root systemctl --quiet disable "$unit" 2>/dev/null || :
done
chroot root systemctl --quiet enable systemd-networkd systemd-network-generator 2>/dev/null
chroot root systemctl --quiet mask rpc-statd-notify.service apparmor.service \
    systemd-networkd-wait-online.service
rm -f root/etc/ssh/ssh_host_*
: >root/etc/machine-id

# An initrd of its own: Debian's takes longer to unpack than this system to start.
mkdir -p root/initrd/bin
cp root/bin/busybox root/initrd/bin/
xz -dc root/usr/lib/modules/*/kernel/drivers/block/virtio_blk.ko.xz >root/initrd/virtio_blk.ko
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
truncate -s 4G disk
mke2fs -q -t ext4 -F -d root disk
rm -r root
