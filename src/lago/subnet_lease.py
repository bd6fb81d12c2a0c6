"""Leases of subnets, so that environments on one host network don't choose the same addresses.

All subnets are /24 and lie between 192.168.`MIN_SUBNET`.0 and 192.168.`MAX_SUBNET`.0, or in the range that the setting
`subnet_range` names. A lease is the file `<third octet>.lease` in the directory of the setting `lease_dir`:

    ["/path/to/prefix/uuid", "content of that file when the lease was taken"]

It holds as long as that file exists with that content; after that anybody may take it over. Users who share a host
share the directory, for example with a group that owns it and may write to it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Network
from typing import NamedTuple

from . import config, constants
from .errors import ConfigError, HostError, LagoError, PrefixError
from .host import shape
from .host.files import PUBLIC, json_text, write_atomically
from .host.locks import lock_file
from .log import LOG
from .topology import address as addresses
from .topology.address import Address

LEASE_DIR = os.path.join(config.OPTIONS["lease_dir"].default, "")
"""Where leases are kept unless the setting `lease_dir` says otherwise."""

LOCK_FILE = os.path.join(LEASE_DIR, "leases.lock")
"""The lock of the leases in `LEASE_DIR`."""

MIN_SUBNET = constants.MIN_SUBNET
"""Third octet of the first subnet, unless the setting `subnet_range` says otherwise."""

MAX_SUBNET = constants.MAX_SUBNET
"""Third octet of the last subnet, unless the setting `subnet_range` says otherwise."""

_LEASE_NAME = re.compile(r"(0|[1-9][0-9]{0,2})\.lease")
_UNFINISHED = re.compile(r"\.[0-9]{1,3}\.lease\..+")
_MASK = re.compile(r"/(0*24|255\.255\.255\.0|0\.0\.0\.255)$")
_HIDDEN = "?"
_LEASE = shape.listing(shape.text())


class Lease(NamedTuple):
    """A subnet, and the `uuid` file of the prefix that took it."""

    octet: int
    uuid_path: str
    uuid: str

    @property
    def gateway(self) -> Address:
        """First address of the subnet; it stands for the lease everywhere."""
        return Address.of(192, 168, self.octet, 1)

    def stale(self) -> bool:
        """Whether the prefix is gone. One that we may not look at counts as alive."""
        return _uuid(self.uuid_path) not in (self.uuid, _HIDDEN)

    def owned_by(self, uuid_path: str) -> bool:
        """Whether that prefix took the lease, maybe before it was moved to where it is now."""
        if os.path.realpath(self.uuid_path) == os.path.realpath(uuid_path):
            return True
        return _uuid(uuid_path) == self.uuid and self.stale()


class SubnetStore:
    """The leases in one directory. Any number of processes and threads may use it at once.

    Args:
        directory: made when it is needed and missing.
        min_third_octet: of the first subnet to lease.
        max_third_octet: of the last one.
        lock_timeout: seconds to wait for others who take or free a lease, which is a matter of milliseconds.

    Raises:
        ConfigError: the range is empty or not within 0 to 255.
    """

    def __init__(self, directory: str, min_third_octet: int, max_third_octet: int, *, lock_timeout: float = 60) -> None:
        self.directory = os.path.abspath(directory)
        self.range = _range(f"{min_third_octet}-{max_third_octet}")
        self._lock_timeout = lock_timeout

    def acquire(self, uuid_path: str, subnet: str | None = None, avoid: Collection[str] = ()) -> Address:
        """Lease a subnet, the lowest free one or `subnet`, and return the address of its gateway.

        A `subnet` outside the range is not leased, but it must be private and not taken by others.

        Args:
            uuid_path: the `uuid` file of the prefix.
            subnet: address of a gateway; that of a network stands for its first address. One's own is granted again.
            avoid: what the host uses already, as third octets (`"201"`), addresses in /24 networks, or networks.

        Raises:
            PrefixError: there is no such `uuid` file.
            LagoError: no subnet is free, or `subnet` is taken, malformed or not private.
            HostError: the directory can't be used.
            LockTimeout: another process doesn't let go of the lock.
        """
        uuid = _uuid(uuid_path)
        if not uuid or uuid == _HIDDEN:
            raise PrefixError(f"can't lease a subnet: {uuid_path} is missing, empty or not readable")
        owner = Lease(-1, os.path.realpath(uuid_path), uuid)
        used = [_avoided(text) for text in avoid if ":" not in text]  # IPv6 is in nobody's way
        if subnet is not None:
            return self._acquire_this(owner, subnet, used)
        with self._locked():
            refused = []
            for lease in (owner._replace(octet=octet) for octet in self.range):
                refusal = self._refusal(lease.octet, lease.gateway, used)
                if not refusal:
                    return self._take(lease)
                refused.append(refusal)
        raise LagoError(
            f"no subnet is free from 192.168.{self.range[0]}.0 to 192.168.{self.range[-1]}.0",
            details="\n".join(refused),
            hint="destroy an environment that you no longer need, or widen the setting subnet_range, up to 0-255",
        )

    def _acquire_this(self, owner: Lease, subnet: str, used: list[IPv4Network]) -> Address:
        gateway = _parse(subnet)
        if gateway is None:
            raise LagoError(f"{subnet} is not an address in a /24 network", hint="write it like 192.168.200.1")
        if not gateway.private:
            raise LagoError(f"{subnet} is not a private address", hint=f"choose one in {', '.join(addresses.PRIVATE)}")
        octet = _octet(gateway)
        with self._locked() if octet in self.range else contextlib.nullcontext():
            present = self._lease(octet)
            if not present or not present.owned_by(owner.uuid_path):
                refusal = self._refusal(octet, gateway, used)
                if refusal:
                    hint = "choose another gw, leave it out to get a free one, or destroy the other environment"
                    raise LagoError(refusal, hint=hint)
            if octet in self.range:
                self._take(owner._replace(octet=octet))
        return gateway

    def release(self, subnets: str | Iterable[str | None] | None, uuid_path: str) -> None:
        """Free one or several leases of a prefix. What is not leased, or could not be, is passed over.

        Raises:
            LagoError: some are leased by others; one's own are freed all the same.
            HostError: the directory can't be used.
            LockTimeout: another process doesn't let go of the lock.
        """
        parsed = [_parse(text or "") for text in ([subnets] if isinstance(subnets, str) else subnets or ())]
        octets = {_octet(address) for address in parsed if address}
        others = self._free([lease for lease in self.list_leases() if lease.octet in octets], uuid_path)
        if others:
            raise LagoError(
                "leases of other environments are not released",
                details="\n".join(f"{lease.gateway} is leased by {lease.uuid_path}" for lease in others),
                hint="destroy the other environments to release them",
            )

    def release_all(self, uuid_path: str) -> None:
        """Free everything that a prefix leases, also when its `uuid` file is gone; nothing is fine too.

        Raises:
            HostError: the directory can't be used.
            LockTimeout: another process doesn't let go of the lock.
        """
        self._free([lease for lease in self.list_leases() if lease.owned_by(uuid_path)], uuid_path)

    def list_leases(self, uuid: str | None = None) -> list[Lease]:
        """The leases, stale ones too, in order; those of the prefix with that uuid if it is given.

        Raises:
            HostError: the directory can't be read.
        """
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._host_error(error) from None
        octets = sorted(int(match[1]) for name in names if (match := _LEASE_NAME.fullmatch(name)))
        leases = [lease for octet in octets if (lease := self._lease(octet))]
        return [lease for lease in leases if uuid in (None, lease.uuid)]

    def _free(self, leases: list[Lease], uuid_path: str | None) -> list[Lease]:
        """Remove those leases that the prefix owns (None: any), and return the others."""
        if not leases:
            return []
        with self._locked():
            present = [lease for was in leases if (lease := self._lease(was.octet))]
            ours = [lease for lease in present if uuid_path is None or lease.owned_by(uuid_path)]
            for lease in ours:
                os.unlink(self._path(lease.octet))
        return [lease for lease in present if lease not in ours]

    def _path(self, octet: int) -> str:
        return os.path.join(self.directory, f"{octet}.lease")

    def _lease(self, octet: int) -> Lease | None:
        """Read a lease file; None when it is missing or damaged."""
        try:
            with open(self._path(octet), encoding="utf-8") as file:
                uuid_path, uuid = _LEASE(shape.parse(file.read(shape.MOST)))
            return Lease(octet, uuid_path, uuid.strip())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._host_error(error) from None
        except ValueError:
            LOG.warning("%s is damaged, so the subnet counts as free", self._path(octet))
            return None

    def _refusal(self, octet: int, gateway: Address, used: list[IPv4Network]) -> str | None:
        """Why a subnet can't be had, None if it can."""
        lease = self._lease(octet)
        if lease and not lease.stale():
            return f"{gateway} is leased by {lease.uuid_path}"
        network = IPv4Network((bytes(gateway.with_last(0).octets), 24))
        return next((f"{gateway} is in use on this host: {other}" for other in used if other.overlaps(network)), None)

    def _take(self, lease: Lease) -> Address:
        write_atomically(self._path(lease.octet), json_text([lease.uuid_path, lease.uuid]), PUBLIC)
        return lease.gateway

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock, what = os.path.join(self.directory, "leases.lock"), f"the directory of subnet leases {self.directory}"
        try:
            os.makedirs(self.directory, exist_ok=True)
            with lock_file(lock, what=what, timeout=self._lock_timeout) as fd:
                if os.fstat(fd).st_uid == os.geteuid():
                    os.fchmod(fd, 0o660)  # whatever our umask, the group of the directory may lock too
                # Who writes holds the lock, and we hold it: what is unfinished was left by a process that was killed.
                for name in filter(_UNFINISHED.fullmatch, os.listdir(self.directory)):
                    with contextlib.suppress(PermissionError):
                        os.unlink(os.path.join(self.directory, name))
                yield
        except OSError as error:
            raise self._host_error(error) from None

    def _host_error(self, error: OSError) -> HostError:
        what = "no permission to use" if isinstance(error, PermissionError) else "can't use"
        return HostError(
            f"{what} the directory of subnet leases {self.directory}",
            details=str(error),
            hint="make it and the files in it writable for you, or set lease_dir to another directory (in lago.conf or "
            "LAGO_LEASE_DIR); all who use the same host network must use the same one",
        )


def default_store() -> SubnetStore:
    """The store that the settings `lease_dir` and `subnet_range` describe.

    Raises:
        ConfigError: `subnet_range` is not a range.
    """
    octets = _range(config.get("subnet_range", f"{MIN_SUBNET}-{MAX_SUBNET}"))
    return SubnetStore(os.path.expanduser(config.get("lease_dir", LEASE_DIR)), octets[0], octets[-1])


def acquire(uuid_path: str) -> str:
    """Lease the lowest free subnet for the prefix with that `uuid` file and return the address of its gateway.

    Raises:
        ConfigError: see `default_store`.
        PrefixError, LagoError, HostError, LockTimeout: see `SubnetStore.acquire`.
    """
    return default_store().acquire(uuid_path)


def release(subnet: str) -> None:
    """Free the lease of the subnet of an address, whoever holds it: nothing here says who the caller is.

    `SubnetStore.release` frees the caller's own leases only.

    Raises:
        ConfigError: see `default_store`.
        HostError, LockTimeout: see `SubnetStore.release`.
    """
    address, leases = _parse(subnet), default_store()
    leases._free([lease for lease in leases.list_leases() if address and lease.octet == _octet(address)], None)


def is_leasable_subnet(subnet: str) -> bool:
    """Whether a network, or the one of an address, is inside the range that is leased.

    Raises:
        ConfigError: see `default_store`.
    """
    address = _parse(subnet)
    return address is not None and _octet(address) in default_store().range


def _range(text: str) -> range:
    match = re.fullmatch(r"([0-9]{1,3})\s*-\s*([0-9]{1,3})", text.strip())
    if not match or not int(match[1]) <= int(match[2]) <= 255:
        raise ConfigError(
            f"subnet_range = {text}: expected two numbers from 0 to 255, the lower one first, such as 200-209",
            hint="they are the third octets of the first and the last subnet 192.168.N.0/24 to lease",
        )
    return range(int(match[1]), int(match[2]) + 1)


def _parse(text: str) -> Address | None:
    """Read an address in a /24 network, the first one for that of the network itself; None if it is something else."""
    address = text if isinstance(text, Address) else Address.read(_MASK.sub("", text))
    if address is None or address.last == 255:
        return None
    return address if address.last else address.with_last(1)


def _octet(address: Address) -> int:
    """The third octet of an address in 192.168.0.0/16, otherwise -1."""
    return address.octets[2] if address.octets[:2] == (192, 168) else -1


def _avoided(text: str) -> IPv4Network:
    full = f"192.168.{text}.0/24" if text.isdigit() else text if "/" in text else f"{text}/24"
    try:
        return IPv4Network(full, strict=False)
    except ValueError:
        raise LagoError(f"can't avoid {text}: it is neither a third octet nor an IPv4 network") from None


def _uuid(path: str) -> str | None:
    """What the `uuid` file says; None when it is gone, `_HIDDEN` when we may not look."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(4096).strip()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError:
        return _HIDDEN
