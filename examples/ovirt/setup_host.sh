# Makes an Enterprise Linux 8 or 9 ready to be a host of oVirt 4.5; the engine does the rest when it is added there.
#
# Never run on a real Enterprise Linux yet.
set -eu

rpm -q centos-release-ovirt45 >/dev/null || dnf install -y centos-release-ovirt45
dnf install -y ovirt-host
# Each host has a name of its own for iSCSI; in images it is the same for all.
echo "InitiatorName=iqn.2014-07.org.lago:$(hostname -s)" >/etc/iscsi/initiatorname.iscsi
systemctl try-restart iscsid
# The engine logs in with root's password when a host is added. Of several lines the first one counts.
if ! head -n 1 /etc/ssh/sshd_config | grep -qx 'PermitRootLogin yes'; then
    sed -i '1i PermitRootLogin yes\nPasswordAuthentication yes' /etc/ssh/sshd_config
    systemctl reload sshd
fi
