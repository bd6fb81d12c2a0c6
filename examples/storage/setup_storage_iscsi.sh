# Makes a Debian 12 machine an iSCSI target, for everybody: its LUNs are thin volumes on a disk of their own.
# `lago deploy` runs it; it may run again.
set -eu

disk=/dev/vdc
target=iqn.2014-07.org.ovirt:storage
luns=4
size=100G

fail() {
    echo "setup_storage_iscsi: $*" >&2
    exit 1
}

for program in lvcreate thin_check targetctl; do
    command -v $program >/dev/null || fail "$program is missing: boot the machine from the template of recipe.yaml"
done
[ -b $disk ] || fail "there is no $disk: give the machine an empty disk with dev: ${disk#/dev/}"

if ! volumes=$(lvs --noheadings -o lv_name iscsi 2>/dev/null); then
    found=$(blkid $disk || true)
    [ -z "$found" ] || fail "there is something else on $found"
    vgcreate --quiet iscsi $disk
fi
has() { grep -qw "$1" <<<"$volumes"; }
# An empty disk reads as zeros, so the pool needn't write them.
has pool || lvcreate --quiet --type thin-pool --extents 100%FREE --chunksize 1M --zero n \
    --poolmetadatasize 64M --poolmetadataspare n --name pool iscsi

objects='' mapped='' n=0
while [ $n -lt $luns ]; do
    has lun$n || lvcreate --quiet --thin --virtualsize $size --name lun$n iscsi/pool
    # By its serial number a LUN is known to those who use it, so it stays the same.
    serial=$(echo "$(hostname) $target $n" | md5sum | cut -c -32)
    objects="$objects${objects:+,}
    {\"plugin\": \"block\", \"name\": \"lun$n\", \"dev\": \"/dev/iscsi/lun$n\", \"wwn\": \"$serial\",
     \"attributes\": {\"emulate_tpu\": 1}}"
    mapped="$mapped${mapped:+,}
      {\"index\": $n, \"storage_object\": \"/backstores/block/lun$n\"}"
    n=$((n + 1))
done

# The form that `targetcli saveconfig` writes; it is read at every boot.
configuration=/etc/rtslib-fb-target/saveconfig.json
cat >$configuration.new <<END
{
  "storage_objects": [$objects],
  "targets": [{"fabric": "iscsi", "wwn": "$target", "tpgs": [{
    "tag": 1, "enable": true,
    "attributes": {"authentication": 0, "generate_node_acls": 1, "cache_dynamic_acls": 1, "demo_mode_write_protect": 0},
    "portals": [{"ip_address": "0.0.0.0", "port": 3260}],
    "luns": [$mapped]}]}]
}
END
chmod 600 $configuration.new

exported() {
    set -- "/sys/kernel/config/target/iscsi/$target/tpgt_1/lun"/lun_*
    [ ! -d "$1" ] && echo 0 || echo $#
}
# Who uses it shall notice a change only.
if cmp -s $configuration.new $configuration && [ "$(exported)" = $luns ]; then
    rm $configuration.new
else
    mv $configuration.new $configuration
    systemctl restart rtslib-fb-targetctl
fi
# It does not fail when it leaves something out.
[ "$(exported)" = $luns ] ||
    fail "the target has $(exported) of $luns LUNs: $(journalctl -q -o cat -n 10 -u rtslib-fb-targetctl)"
sync
