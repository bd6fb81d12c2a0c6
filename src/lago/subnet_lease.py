"""Leases of subnets, so that environments on one host network don't choose the same addresses.

All subnets are /24 and lie between 192.168.`MIN_SUBNET`.0 and 192.168.`MAX_SUBNET`.0, or in the range that the setting
`subnet_range` names. A lease is the file `<third octet>.lease` in the directory of the setting `lease_dir`:

    ["/path/to/prefix/uuid", "content of that file when the lease was taken"]

It holds as long as that file exists with that content; after that anybody may take it over. Users who share a host
share the directory, for example with a group that owns it and may write to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Interface, IPv4Network
from typing import NamedTuple

from . import config, constants
from .errors import ConfigError, HostError, LagoError, PrefixError
from .log import LOG
from .utils import json_text, lock_file, write_atomically

LEASE_DIR = os.path.join(config.OPTIONS["lease_dir"].default, "")
"""Where leases are kept unless the setting `lease_dir` says otherwise."""

LOCK_FILE = os.path.join(LEASE_DIR, "leases.lock")
"""The lock of the leases in `LEASE_DIR`."""

MIN_SUBNET = constants.MIN_SUBNET
"""Third octet of the first subnet, unless the setting `subnet_range` says otherwise."""

MAX_SUBNET = constants.MAX_SUBNET
"""Third octet of the last subnet, unless the setting `subnet_range` says otherwise."""

_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_LEASE_NAME = re.compile(r"(0|[1-9][0-9]{0,2})\.lease")
_UNFINISHED_NAME = re.compile(r"\.[0-9]{1,3}\.lease\..+")


class Lease(NamedTuple):
    """A subnet, and the `uuid` file of the prefix that took it."""

    octet: int
    uuid_path: str
    uuid: str

    @property
    def gateway(self) -> str:
        """First address of the subnet; it stands for the lease everywhere."""
        return _gateway(self.octet)

    def stale(self) -> bool:
        """Whether the prefix is gone. One that we may not look at counts as alive."""
        try:
            return _read_uuid(self.uuid_path) != self.uuid
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return True
        except OSError:
            return False

    def owned_by(self, uuid_path: str, uuid: str | None) -> bool:
        """Whether that prefix took the lease, maybe before it was moved to where it is now."""
        return os.path.realpath(self.uuid_path) == uuid_path or (self.uuid == uuid and self.stale())


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
        if not 0 <= min_third_octet <= max_third_octet <= 255:
            raise ConfigError(
                f"the range of subnets {min_third_octet}-{max_third_octet} is not one",
                hint="subnet_range is first and last third octet of 192.168.N.0/24, within 0 to 255, such as 200-209",
            )
        self.directory = os.path.abspath(directory)
        self.lock_path = os.path.join(self.directory, "leases.lock")
        self.range = range(min_third_octet, max_third_octet + 1)
        self.lock_timeout = lock_timeout

    def acquire(self, uuid_path: str, subnet: str | None = None, avoid: Collection[str] = ()) -> str:
        """Lease a subnet, the lowest free one or `subnet`, and return the address of its gateway.

        A `subnet` outside the range is not leased, but it must be private and not taken by others.

        Args:
            uuid_path: the `uuid` file of the prefix.
            subnet: address of a gateway; that of a network stands for its first address. One's own is granted again.
            avoid: what the host uses already, as third octets (`"201"`), addresses of /24 networks, or networks.

        Raises:
            PrefixError: there is no such `uuid` file.
            LagoError: no subnet is free, `subnet` is taken or malformed.
            HostError: the directory can't be used.
            LockTimeout: another process doesn't let go of the lock.
        """
        uuid_path, uuid = _owner(uuid_path)
        used = [_avoided(text) for text in avoid]
        if subnet is not None:
            return self._acquire_this(Lease(-1, uuid_path, uuid), subnet, used)
        with self._locked():
            refused = []
            for octet in self.range:
                refusal = self._refusal(octet) or _used(IPv4Network(f"192.168.{octet}.0/24"), used)
                if not refusal:
                    return self._take(Lease(octet, uuid_path, uuid))
                refused.append(f"{_gateway(octet)} {refusal}")
        raise LagoError(
            f"no subnet is free from {_gateway(self.range[0])} to {_gateway(self.range[-1])}",
            details="\n".join(refused),
            hint="destroy an environment that you no longer need, or widen the setting subnet_range, up to 0-255",
        )

    def _acquire_this(self, owner: Lease, subnet: str, used: list[IPv4Network]) -> str:
        address = _parse(subnet)
        if address is None:
            raise LagoError(f"{subnet} is not the address of a /24 network", hint="write it like 192.168.200.1")
        if not any(address in network for network in _PRIVATE):
            raise LagoError(f"{subnet} is not a private address", hint=f"choose one in {', '.join(map(str, _PRIVATE))}")
        octet = _octet(address)
        gateway = str(address.ip)
        with self._locked() if octet in self.range else contextlib.nullcontext():
            lease = self._lease(octet)
            ours = isinstance(lease, Lease) and lease.owned_by(owner.uuid_path, owner.uuid)
            refusal = None if ours else self._refusal(octet) or _used(address.network, used)
            if refusal:
                raise LagoError(
                    f"the subnet of {gateway} {refusal}",
                    hint="choose another gw, leave it out to get a free one, or destroy the other environment",
                )
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
        addresses = [_parse(text or "") for text in ([subnets] if isinstance(subnets, str) else subnets or ())]
        octets = {_octet(address) for address in addresses if address}
        others = self._free([lease for lease in self.list_leases() if lease.octet in octets], uuid_path)
        if others:
            raise LagoError(
                "leases of other environments are not released",
                details="\n".join(f"{lease.gateway} is leased by {lease.uuid_path}" for lease in others),
                hint="an environment releases its leases when it is destroyed; those of a removed one are free",
            )

    def release_all(self, uuid_path: str) -> None:
        """Free everything that a prefix leases, also when its `uuid` file is gone; nothing is fine too.

        Raises:
            HostError: the directory can't be used.
            LockTimeout: another process doesn't let go of the lock.
        """
        path, uuid = os.path.realpath(uuid_path), _uuid_or_none(uuid_path)
        self._free([lease for lease in self.list_leases() if lease.owned_by(path, uuid)], uuid_path)

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
        leases = [lease for octet in octets if isinstance(lease := self._lease(octet), Lease)]
        return [lease for lease in leases if uuid in (None, lease.uuid)]

    def _free(self, leases: list[Lease], uuid_path: str | None) -> list[Lease]:
        """Remove those leases that the prefix owns (None: any), and return the others."""
        if not leases:
            return []
        others = []
        with self._locked():
            for lease in leases:
                now = self._lease(lease.octet)
                if not isinstance(now, Lease):
                    continue
                if uuid_path is None or now.owned_by(os.path.realpath(uuid_path), _uuid_or_none(uuid_path)):
                    os.unlink(self._path(lease.octet))
                else:
                    others.append(now)
        return others

    def _path(self, octet: int) -> str:
        return os.path.join(self.directory, f"{octet}.lease")

    def _lease(self, octet: int) -> Lease | OSError | None:
        """What the lease file says; the error when it can't be read, None when it is missing or damaged."""
        try:
            with open(self._path(octet), encoding="utf-8") as file:
                uuid_path, uuid = json.load(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            return error
        except (ValueError, TypeError, RecursionError):
            LOG.warning("%s is damaged, so it counts as free", self._path(octet))
            return None
        return Lease(octet, uuid_path, uuid.strip()) if isinstance(uuid_path, str) and isinstance(uuid, str) else None

    def _refusal(self, octet: int) -> str | None:
        """Why a subnet can't be leased, None if it can."""
        lease = self._lease(octet)
        if isinstance(lease, OSError):
            return f"is leased by somebody: {self._path(octet)}: {lease.strerror}"
        return f"is leased by {lease.uuid_path}" if lease and not lease.stale() else None

    def _take(self, lease: Lease) -> str:
        write_atomically(self._path(lease.octet), json_text([lease.uuid_path, lease.uuid]))
        return lease.gateway

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            os.makedirs(self.directory, exist_ok=True)
            _make_lock(self.lock_path)
            with lock_file(self.lock_path, what=f"the directory of leases {self.directory}", timeout=self.lock_timeout):
                self._sweep()
                yield
        except OSError as error:
            raise self._host_error(error) from None

    def _sweep(self) -> None:
        """Remove what killed processes had not finished writing: who writes holds the lock, and we hold it."""
        for name in filter(_UNFINISHED_NAME.fullmatch, os.listdir(self.directory)):
            with contextlib.suppress(PermissionError):
                os.unlink(os.path.join(self.directory, name))

    def _host_error(self, error: OSError) -> HostError:
        what = "no permission to use" if isinstance(error, PermissionError) else "can't use"
        return HostError(
            f"{what} the directory of subnet leases {self.directory}",
            details=str(error),
            hint="make it, and the files in it, writable for you, or set lease_dir to another directory "
            "(lago.conf or LAGO_LEASE_DIR); all who use the same host network must use the same one",
        )


def store() -> SubnetStore:
    """The store that the settings `lease_dir` and `subnet_range` describe.

    Raises:
        ConfigError: `subnet_range` is not a range.
    """
    text = str(config.get("subnet_range", f"{MIN_SUBNET}-{MAX_SUBNET}"))
    match = re.fullmatch(r"\s*([0-9]{1,3})\s*-\s*([0-9]{1,3})\s*", text)
    if not match or not int(match[1]) <= int(match[2]) <= 255:
        raise ConfigError(
            f"subnet_range = {text}: expected two numbers from 0 to 255, the lower one first, such as 200-209",
            hint="they are the third octets of the first and the last subnet 192.168.N.0/24 to lease",
        )
    return SubnetStore(os.path.expanduser(config.get("lease_dir", LEASE_DIR)), int(match[1]), int(match[2]))


def acquire(uuid_path: str) -> str:
    """Lease the lowest free subnet for the prefix with that `uuid` file and return the address of its gateway.

    Raises:
        ConfigError, PrefixError, LagoError, HostError, LockTimeout: see `store` and `SubnetStore.acquire`.
    """
    return store().acquire(uuid_path)


def release(subnet: str) -> None:
    """Free the lease of the subnet of an address, whoever holds it, as the caller doesn't say who it is.

    `SubnetStore.release` frees the caller's own leases only.

    Raises:
        ConfigError, HostError, LockTimeout: see `store` and `SubnetStore.release`.
    """
    address, leases = _parse(subnet), store()
    leases._free([lease for lease in leases.list_leases() if address and lease.octet == _octet(address)], None)


def is_leasable_subnet(subnet: str) -> bool:
    """Whether a network, or the one of an address, is inside the range that is leased.

    Raises:
        ConfigError: see `store`.
    """
    address = _parse(subnet)
    return address is not None and _octet(address) in store().range


def _gateway(octet: int) -> str:
    return f"192.168.{octet}.1"


def _parse(text: str) -> IPv4Interface | None:
    """An address in a /24 network, the first one for that of the network itself; None if the text is something else."""
    try:
        address = IPv4Interface(text if "/" in text else f"{text}/24")
    except ValueError:
        return None
    if address.network.prefixlen != 24 or address.ip == address.network.broadcast_address:
        return None
    return IPv4Interface(f"{address.ip + 1}/24") if address.ip == address.network.network_address else address


def _octet(address: IPv4Interface) -> int:
    """The third octet of an address in 192.168.0.0/16, otherwise -1."""
    return address.packed[2] if address in _PRIVATE[2] else -1


def _avoided(text: str) -> IPv4Network:
    full = f"192.168.{text}.0/24" if text.isdigit() else text if "/" in text else f"{text}/24"
    try:
        return IPv4Network(full, strict=False)
    except ValueError:
        raise LagoError(f"can't avoid {text}, as it is no IPv4 network") from None


def _used(network: IPv4Network, used: list[IPv4Network]) -> str | None:
    return next((f"is in use on this host: {other}" for other in used if other.overlaps(network)), None)


def _read_uuid(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read(4096).strip()


def _uuid_or_none(path: str) -> str | None:
    try:
        return _read_uuid(path)
    except OSError:
        return None


def _owner(uuid_path: str) -> tuple[str, str]:
    try:
        uuid = _read_uuid(uuid_path)
    except OSError as error:
        raise PrefixError(
            f"can't lease a subnet for the prefix of {uuid_path}: {error.strerror}", hint="is it initialised?"
        ) from None
    if not uuid:
        raise PrefixError(f"can't lease a subnet for the prefix of {uuid_path}: the file is empty")
    return os.path.realpath(uuid_path), uuid


def _make_lock(path: str) -> None:
    """Make the lock file so that the directory's group can lock it too, whatever our umask."""
    with contextlib.suppress(FileExistsError):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
        try:
            os.fchmod(fd, 0o660)
        finally:
            os.close(fd)
