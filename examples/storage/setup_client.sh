# Makes a Debian 12 machine use what the machine `storage` exports: shares of NFS below /mnt, LUNs as disks.
# `lago deploy` runs it, maybe before the other one is ready; it may run again.
set -eu

server=storage
shares='share1 iso'
target=iqn.2014-07.org.ovirt:storage

fail() {
    echo "setup_client: $*" >&2
    exit 1
}

for program in mount.nfs iscsiadm; do
    command -v $program >/dev/null || fail "$program is missing: boot the machine from the template of recipe.yaml"
done
# The target listens to IPv4 only.
address=$(getent ahostsv4 $server | awk '{print $1; exit}')
[ -n "$address" ] || fail "there is no machine $server"

wait_for() {
    deadline=$((SECONDS + 600))
    until (: <"/dev/tcp/$address/$1") 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || fail "$server does not answer on port $1, where its $2 should be"
        sleep 2
    done
}

wait_for 2049 'NFS server'
for share in $shares; do
    mkdir -p "/mnt/$share"
    # After a boot it is mounted when it is used first, so that the boot need not wait for the server.
    grep -q " /mnt/$share nfs " /etc/fstab ||
        echo "$server:/exports/$share /mnt/$share nfs nfsvers=4.2,noauto,x-systemd.automount 0 0" >>/etc/fstab
    mountpoint -q "/mnt/$share" || mount "/mnt/$share"
done

wait_for 3260 'iSCSI target'
name="InitiatorName=iqn.2014-07.org.lago:$(hostname)"
if [ "$(cat /etc/iscsi/initiatorname.iscsi 2>/dev/null)" != "$name" ]; then
    echo "$name" >/etc/iscsi/initiatorname.iscsi
    systemctl try-restart iscsid
fi
# As `enable` does it, without the detour by scripts of sysvinit.
systemctl --quiet --no-reload add-wants sysinit.target open-iscsi.service
iscsiadm --mode discovery --type sendtargets --portal "$address" >/dev/null
iscsiadm --mode node --targetname $target --op update --name node.startup --value automatic
iscsiadm --mode session 2>/dev/null | grep -q " $target " || iscsiadm --mode node --targetname $target --login >/dev/null
# Disks come a moment after the session.
lun="/dev/disk/by-path/ip-$address:3260-iscsi-$target-lun-0"
udevadm wait --timeout=120 --settle "$lun" || fail "the target $target has no LUN 0: there is no $lun"
sync
