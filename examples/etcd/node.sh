# Makes a machine a node of the cluster: all of the group etcd, by the names and addresses that Lago tells scripts.
set -eu
if ! mountpoint -q /var/lib/etcd; then
    mkfs.ext4 -q /dev/vdb
    echo "/dev/vdb /var/lib/etcd ext4 defaults 0 2" >>/etc/fstab
    mount /var/lib/etcd
    chown etcd: /var/lib/etcd
fi

cluster=
set -- $LAGO_IPS_OF_ETCD
for name in $LAGO_VMS_OF_ETCD; do
    cluster=$cluster,$name=http://$1:2380
    shift
done

# Where machines are emulated, each does things in its own time: heartbeats are rare, and elections patient.
cat >/etc/default/etcd <<END
ETCD_NAME=$LAGO_VM_NAME
ETCD_DATA_DIR=/var/lib/etcd/data
ETCD_INITIAL_CLUSTER=${cluster#,}
ETCD_LISTEN_PEER_URLS=http://$LAGO_VM_IP:2380
ETCD_INITIAL_ADVERTISE_PEER_URLS=http://$LAGO_VM_IP:2380
ETCD_LISTEN_CLIENT_URLS=http://$LAGO_VM_IP:2379,http://127.0.0.1:2379
ETCD_ADVERTISE_CLIENT_URLS=http://$LAGO_VM_IP:2379
ETCD_HEARTBEAT_INTERVAL=500
ETCD_ELECTION_TIMEOUT=5000
END

# It is there when most nodes are, so this script must not wait for it.
systemctl --quiet enable etcd
systemctl restart --no-block etcd
