"""The commands of `lago ovirt` about testing: runtest, deploy, collect."""

from __future__ import annotations

import argparse
from typing import Any

from lago.cli.artifacts import add_collect_options
from lago.cli.parser import Commands

from . import the_prefix


def add_parsers(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    runtest = commands.add_parser(
        "runtest",
        help="run a file or directory of tests by pytest",
        description="Run tests by pytest, with the environment in LAGO_PREFIX and its packages served meanwhile. What "
        "the machines have to tell about a failed test is put into the prefix, in test_logs/.",
    )
    runtest.add_argument("test", metavar="TEST", help="a file or directory of tests")
    runtest.add_argument(
        "--junitxml-file",
        metavar="F",
        help="for the report; a bare name is in the prefix, what ends with / is a directory (TEST.junit.xml)",
    )
    runtest.set_defaults(do=_runtest)
    deploy = commands.add_parser(
        "deploy",
        help="run the deploy scripts and ovirt scripts of all machines",
        description="Run what deploy-scripts and ovirt-scripts in the metadata of machines list, with the packages of "
        "the environment served meanwhile.",
    )
    deploy.set_defaults(do=_deploy)
    collect = commands.add_parser(
        "collect",
        help="copy artifacts and logs of all machines to a directory",
        description="As `lago collect`, with what an engine and hosts have by their role.",
    )
    add_collect_options(collect)
    collect.set_defaults(do=_collect)


def _runtest(args: argparse.Namespace) -> Any:
    from lago import LagoError

    prefix = the_prefix(args)
    ended = prefix.test_results(args.test, args.junitxml_file)
    if not ended.passed:
        bad = ended.failures + ended.errors
        raise LagoError(
            f"{bad} of {ended.tests} tests of {args.test} failed",
            hint=f"the report is {ended.report}, what machines told is in {prefix.paths.test_logs()}",
        )
    return ended._asdict()


def _deploy(args: argparse.Namespace) -> None:
    from lago.cli.environment import deploy

    deploy(the_prefix(args))


def _collect(args: argparse.Namespace) -> Any:
    return the_prefix(args).collect_artifacts(args.output, ignore_nopath=not args.no_skip)
