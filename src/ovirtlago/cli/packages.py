"""The commands of `lago ovirt` about packages: reposetup and serve."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from lago.cli.output import announce
from lago.cli.parser import Commands
from lago.errors import HypervisorError
from lago.log import LOG

from . import the_prefix


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    reposetup = commands.add_parser(
        "reposetup",
        help="make the repositories of packages for the machines",
        description="Sync repositories, build projects, and merge that with other packages into one repository for "
        "each distribution of the engine and the hosts. Of a package that is in several places that of a build counts, "
        "then that of the first source, then that of a synced repository.",
    )
    add = reposetup.add_argument
    add("--rpm-repo", metavar="DIR", help="copies of the synced repositories (setting reposync_dir)")
    add("--reposync-yum-config", metavar="FILE", help="dnf configuration of what to sync (setting reposync_config)")
    add("--skip-sync", action="store_true", help="use the copies as they are")
    add("--engine-dir", metavar="DIR", help="sources of ovirt-engine to build")
    add("--engine-with-gwt", action="store_true", help="build the engine with its web pages")
    add("--ioprocess-dir", metavar="DIR", help="sources of ioprocess to build")
    add("--vdsm-dir", metavar="DIR", help="sources of vdsm to build")
    add("--vdsm-jsonrpc-java-dir", metavar="DIR", help="sources of vdsm-jsonrpc-java to build")
    add(
        "--custom-source",
        action="append",
        default=[],
        metavar="SOURCE",
        help="a directory, an rpm file, or the address of an rpm file or of a repository; may be repeated",
    )
    add("--repo-name", metavar="NAME", help="make one repository of this name, not one for each distribution")
    add("--repoman-config", metavar="FILE", help="ignored: repoman is not used any more")
    reposetup.set_defaults(do=_reposetup)
    serve = commands.add_parser(
        "serve",
        help="serve the repositories to the machines, until Ctrl-C",
        description="Serve the repositories that reposetup made to the machines, on the gateway of the management "
        "net, and print what their package manager must be told.",
    )
    serve.set_defaults(do=_serve)


def _reposetup(args: argparse.Namespace) -> Any:
    if args.repoman_config:
        LOG.warning("--repoman-config %s is ignored: repoman is not used any more", args.repoman_config)
    return the_prefix(args).prepare_repo(
        rpm_repo=args.rpm_repo,
        reposync_yum_config=args.reposync_yum_config,
        skip_sync=args.skip_sync,
        vdsm_dir=args.vdsm_dir,
        engine_dir=args.engine_dir,
        engine_build_gwt=args.engine_with_gwt,
        vdsm_jsonrpc_java_dir=args.vdsm_jsonrpc_java_dir,
        ioprocess_dir=args.ioprocess_dir,
        custom_sources=args.custom_source,
        repo_name=args.repo_name,
    )


def _serve(args: argparse.Namespace) -> None:
    from ..utils import repo_server_context

    # The whole command, as Ctrl-C may come while the server starts or ends.
    with contextlib.suppress(KeyboardInterrupt):
        prefix = the_prefix(args)
        with repo_server_context(prefix) as server:
            files = {name: server.repo_file(name) for name in server.repositories}
            data = {"url": server.url, "repositories": server.repositories, "repo_files": files}
            announce(data, [server.url, *files.values()], args.out_format)
            server.wait()
            raise HypervisorError("packages are not served any more: the environment ended", hint="lago start")
