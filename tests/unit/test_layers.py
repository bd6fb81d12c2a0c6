"""Imports go downwards only, between packages and inside them, and those for type checking count as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"

# From the top down. What stands on one line doesn't import each other. A package's name is its `__init__`.
LAYERS = {
    "lago": """
        __main__
        cli pytest_plugin
        lago sdk web
        environment
        virt
        bootstrap
        sysprep
        guestfs
        services templates
        disks guest initfile plugins report subnet_lease
        brctl dirlock hypervisor journal topology utils
        host
        config log paths
        constants ending errors version
    """,
    "lago.bootstrap": """
        logins
        bootstrap
        cloud_init credentials none sysprep
        additions iso passwords
    """,
    "lago.cli": """
        screen
        console copying forward
        artifacts capture chaos cli faults graph journal machine reachability report shell snapshots ssh_config up web
        capsule completion config_commands environment template
        doctor initfile main progress status store
        output plugin_commands settings template_repo
        commands external hints parser pictures refused result
    """,
    "lago.disks": """
        ova
        qemu_img
        disks image_header
    """,
    "lago.environment": """
        capsule everywhere
        chaos fingerprint template_update warm workdir
        prefix
        collect create export staging status
        claims deploy prerequisites snapshots
        appliances captures environment facts faults peers registry report restrict screens told
    """,
    "lago.environment.capsule": """
        unpacking
        making opening packing
        shelf
        about archive capsule description hosts
    """,
    "lago.environment.captures": """
        acts
        capturing recorder
        model pcapng
        captures programs ring
    """,
    "lago.environment.export": """
        export
        initfile
        images
    """,
    "lago.environment.faults": """
        acts breaking
        words
        registry
        of_machines
        machines of_network
        network
        delays links purpose
        amounts names places record shaping
        faults model plain plans rules values
    """,
    "lago.environment.snapshots": """
        recover revert
        fork in_place take
        memory remove
        layers
        guests index snapshots wake
    """,
    "lago.guest": """
        ansible ssh_config transfer
        console_log forward guest ssh unpacking
    """,
    "lago.guestfs": """
        customize extract
        guestfs inside programs
    """,
    "lago.host": """
        channels
        confined files inotify locks long_logs pace streams tree until
        archive beneath beside confining fetch full host parallel programs pump shape ssh_option suggest trust waiting
    """,
    "lago.hypervisor": """
        hypervisor proxy
        doctor private supervisor
        checks way_out
        confine shared
        accel egress namespace rundir
        dial firewall ids probe_guest protocol
    """,
    "lago.initfile": """
        convert
        parse
        checks schema
        disk_checks keys
        dns_checks specs values
        machine_checks net_checks prototypes sections
        mistakes renamed
        document edits
        nodes
        initfile placeholders stand_ins
    """,
    "lago.journal": """
        calls commands
        reading writing
        files journal kinds masks
    """,
    "lago.plugins": """
        machines
        cli contracts output plugins
    """,
    "lago.pytest_plugin": """
        pytest_plugin
        environments
        ahead reports
        admission capsules evidence faults home journals options prepare
    """,
    "lago.report": """
        report
        write
        html junit perfetto
        page pictures timeline
    """,
    "lago.report.page": """
        page
    """,
    "lago.services": """
        services
        container
        systemd sysvinit
        base
    """,
    "lago.templates": """
        backing own templates
        choose local
        store
        repository
        metadata
        providers
        download
        build checksums git lockfile references unpack
    """,
    "lago.templates.build": """
        build
        variants
        debian12
        hooks mini recipe_file
        recipe
        kernel
        apt ext4
        mirrors tree
    """,
    "lago.topology": """
        resolve state
        addressing
        model spec
        given
        address names place topology variables
    """,
    "lago.virt": """
        virt
        env
        factory together
        vm
        libvirt_driver provided
        extraction
        checkpoint
        delta in_place
        alike clock driver film journal mapped panic squeeze
        console disk_fault inside memory power readiness screen starve
        disk_swap machine
        jobs network
        migration network_xml preflight state_file watch watching
        domain_xml session stream
        breakable carrier connection cpu hardware heard keys lifecycle on_purpose pages passed picture reach stuck
        tester
    """,
    "lago.web": """
        server
        screen
        acts guard parts terminal web
    """,
    "ovirtlago": """
        pytest_plugin
        cli ovirtlago testlib
        prefix
        testing
        packages virt
        engine merge_repos repoverify utils
        constants errors machines paths repository
    """,
    "ovirtlago.cli": """
        environment packages testing
        cli
    """,
    "ovirtlago.engine": """
        rest
        hosts machine storage vms
        iso login steps
        cpu status waiting
        connection events identity
        contract engine transport
    """,
    "ovirtlago.packages": """
        setup
        sources
        builds packages server sync
    """,
    "ovirtlago.repository": """
        config replace repository rpms
    """,
    "ovirtlago.testing": """
        capabilities polling run sequences testing
    """,
}
RANK = {
    inside: {module: rank for rank, line in enumerate(table.strip().splitlines()) for module in line.split()}
    for inside, table in LAYERS.items()
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(path): path for top in ("lago", "ovirtlago") for path in SRC.glob(f"{top}/**/*.py")}
PACKAGES = {name for name, path in FILES.items() if path.name == "__init__.py"}


def imports(name: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every module of ours that a module imports, inside functions and for types too."""
    package = name if name in PACKAGES else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name in FILES)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                found = f"{base}.{alias.name}" if f"{base}.{alias.name}" in FILES else base
                if found in FILES:
                    yield node.lineno, found


def place(name: str, inside: str) -> str | None:
    """What a module is called in the table of a package: itself, the package in it, or the package's own name."""
    if name == inside:
        return inside.rpartition(".")[2]
    return name.removeprefix(f"{inside}.").split(".")[0] if name.startswith(f"{inside}.") else None


def tables(name: str) -> Iterator[tuple[str, str]]:
    """The packages whose tables have a module, and what it is called there."""
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        inside = ".".join(parts[:depth])
        if inside in PACKAGES and (here := place(name, inside)):
            yield inside, here


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_module_imports_only_from_layers_below(name: str) -> None:
    wrong = []
    for inside, here in tables(name):
        ranks = RANK[inside]
        assert here in ranks, f"{name} has no layer: give {here} a place in LAYERS[{inside!r}]"
        wrong += [
            f"{FILES[name].relative_to(SRC)}:{line} imports {imported}, which is not below {here} in {inside}"
            for line, imported in imports(name)
            if (there := place(imported, inside)) and there != here and ranks.get(there, -1) <= ranks[here]
        ]
    assert not wrong, "\n".join(wrong)


def test_the_layers_name_what_is_there() -> None:
    there = {(inside, here) for name in FILES for inside, here in tables(name)}
    assert {(inside, here) for inside, ranks in RANK.items() for here in ranks} == there


def test_nothing_imports_ovirtlago_but_itself() -> None:
    ours = [name for name in FILES if name.split(".")[0] == "lago"]
    assert not [name for name in ours for _, imported in imports(name) if imported.split(".")[0] != "lago"]


def test_programs_are_started_by_the_one_runner_alone() -> None:
    """Another Python, which need not have Lago, runs `guestfs.inside`."""
    runners = {"lago.host.programs", "lago.guestfs.inside"}
    assert {name for name in FILES if "subprocess" in set(modules(name))} == runners


def modules(name: str) -> Iterator[str]:
    """Every module that a module imports, of whomever it is."""
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
