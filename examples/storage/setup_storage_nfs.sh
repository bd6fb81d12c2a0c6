# Makes a Debian 12 machine a server of NFS 3 and 4, for everybody: /exports/share1 and /exports/iso, on a disk of
# their own. `lago deploy` runs it; it may run again.
set -eu

disk=/dev/vdb
shares='share1 iso'
# vdsm:kvm of oVirt, which insists on them.
owner=36:36

fail() {
    echo "setup_storage_nfs: $*" >&2
    exit 1
}

command -v exportfs >/dev/null || fail 'nfs-kernel-server is missing: boot the machine from the template of recipe.yaml'
[ -b $disk ] || fail "there is no $disk: give the machine an empty disk with dev: ${disk#/dev/}"

found=$(blkid $disk || true)
case $found in
    '')
        # An empty disk reads as zeros, so there is nothing to write them over.
        mkfs.ext4 -q -L exports -E lazy_itable_init=1,lazy_journal_init=1 $disk
        ;;
    *' LABEL="exports" '*) ;;
    *) fail "there is something else on $found" ;;
esac
grep -q '^LABEL=exports ' /etc/fstab || echo 'LABEL=exports /exports ext4 defaults,noatime 0 2' >>/etc/fstab
mkdir -p /exports /etc/exports.d
mountpoint -q /exports || mount /exports

for share in $shares; do
    mkdir -p "/exports/$share"
    chown $owner "/exports/$share"
    echo "/exports/$share *(rw,no_root_squash,no_subtree_check)"
done >/etc/exports.d/lago.exports

# Without a reload, which takes an emulated machine seconds; systemd reads /etc/fstab and the exports when it boots.
systemctl --quiet --no-reload enable nfs-server
systemctl start nfs-server
exportfs -ra
sync
