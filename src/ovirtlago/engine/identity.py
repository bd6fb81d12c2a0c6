"""Who an engine is: the name that its certificate is for, and the authority that signed it.

An engine hands out the certificate of its authority to anybody who asks, so what is fetched proves nothing by itself.
It is compared with the file on the engine's machine, which we read over ssh with a key of ours.
"""

from __future__ import annotations

import ssl
from typing import Final

import pycurl

from lago.utils import write_atomically

from ..constants import SHORT_TIMEOUT
from ..errors import EngineError, EngineNotReady
from .contract import Identity, Machine
from .transport import Transport

CA_FILE: Final = "/etc/pki/ovirt-engine/ca.pem"
"""Certificate of the engine's authority, on its machine; there since `engine-setup`."""

_RESOURCE: Final = "/ovirt-engine/services/pki-resource?resource=ca-certificate&format=X509-PEM-CA"
_ASK: Final = (
    "sed -n 's/^ENGINE_FQDN=/configured=/p' /etc/ovirt-engine/engine.conf.d/*.conf 2>/dev/null | tail -n 1; "
    f"echo host=$(hostname -f 2>/dev/null || hostname); cat {CA_FILE} 2>/dev/null"
)
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"


def ask(engine: Machine) -> Identity:
    """Ask the machine of an engine, over ssh, who the engine is.

    Raises:
        VMNotRunning, VMNotReady: its machine does not run or answer.
        EngineError: it is not set up.
    """
    engine.connect()
    said = engine.guest.run(["sh", "-c", _ASK], timeout=SHORT_TIMEOUT).text
    facts, begin, ca = said.partition(_BEGIN)
    if not begin:
        raise EngineError(
            f"the engine on {engine.name()} is not set up, there is no {CA_FILE}",
            hint="lago ovirt engine-setup, or a deploy script that does it",
        )
    known = dict(line.split("=", 1) for line in facts.splitlines() if "=" in line)
    return Identity(known.get("configured", "").strip("\"'") or known["host"], begin + ca)


def fetch_ca(engine: Machine, who: Identity, timeout: float) -> str:
    """Write the certificate that the certificates of an engine must be signed by, after a look at what it hands out.

    Args:
        engine: its machine.
        who: the engine by that machine.
        timeout: seconds that the engine may take to answer.

    Returns:
        Path of the file, in the prefix.

    Raises:
        EngineNotReady: it can't be fetched from the engine.
        EngineError: what was fetched is another one than the engine's machine has.
    """
    url = f"https://{who.fqdn}{_RESOURCE}"
    anyone = Transport(engine.dial, None, timeout)
    try:
        response = anyone.request(url)
    except pycurl.error as error:
        raise EngineNotReady(f"{engine.name()} does not answer: {anyone.failure or error.args[1]}") from None
    if response.code != 200:
        raise EngineNotReady(f"{engine.name()} does not hand out its certificate: status {response.code} at {url}")
    if _der(response.body.decode(errors="replace")) != _der(who.ca):
        raise EngineError(
            f"who answers for {who.fqdn} has another certificate than {engine.name()} itself, {CA_FILE}",
            details=f"fetched from {url}",
            hint="does something stand between, or was the engine set up again? metadata ovirt-engine-insecure: true "
            "of its machine leaves out the check",
        )
    path = engine.env.paths.virt("engine-ca.pem")
    write_atomically(path, who.ca, 0o644)
    return path


def _der(pem: str) -> bytes | None:
    try:
        return ssl.PEM_cert_to_DER_cert(pem[pem.index(_BEGIN) :].strip())
    except ValueError:
        return None
