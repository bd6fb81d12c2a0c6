# Installs the engine of oVirt 4.5 on an Enterprise Linux 8 or 9. `lago ovirt engine-setup` configures it afterwards.
#
# Never run on a real Enterprise Linux yet.
set -eu

rpm -q centos-release-ovirt45 >/dev/null || dnf install -y centos-release-ovirt45
if [ "$(rpm -E %rhel)" = 8 ]; then
    dnf module enable -y javapackages-tools pki-deps postgresql:12 mod_auth_openidc:2.3 nodejs:14
fi
dnf install -y ovirt-engine
