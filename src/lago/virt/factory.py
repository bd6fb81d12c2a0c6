"""Machines of the class that their `vm-type` names, run by what their `vm-provider` names."""

from __future__ import annotations

from ..plugins import machines
from ..topology.model import Domain
from .provided import Provided
from .vm import VM, Environment


def kind_of(spec: Domain) -> type[VM]:
    """Class that the `vm-type` of a machine names. Raises LagoError if it is not there."""
    kind: type[VM] = machines.kind(spec.vm_type, spec.name) or VM
    return kind


def make(env: Environment, spec: Domain, kind: type[VM]) -> VM:
    """Make a machine of the class `kind`. Raises LagoError if its provider is not there."""
    provider = machines.provider(spec.vm_provider, spec.name)
    made = kind(env, spec)
    if provider is not None:
        made.driver = Provided(made, provider(made), str(spec.vm_provider))
    return made
