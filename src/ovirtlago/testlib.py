"""What tests of oVirt environments are made of, for pytest.

    from ovirtlago import testlib

    @testlib.with_ovirt_api
    def test_hosts_are_up(api):
        hosts = api.system_service().hosts_service()
        testlib.assert_true_within_long(lambda: all(host.status.value == "up" for host in hosts.list()))

The environment is that of `LAGO_PREFIX`, which `lago ovirt runtest` sets, or of the working directory. The same is to
be had as fixtures, `ovirt_prefix` and `ovirt_api`, and as markers; these here are for functions that others call too.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .constants import LONG_TIMEOUT, PREFIX_VARIABLE, SHORT_TIMEOUT
from .testing.capabilities import lacking_of_engine, lacking_of_hosts
from .testing.polling import (
    assert_equals_within,
    assert_equals_within_long,
    assert_equals_within_short,
    assert_true_within,
    assert_true_within_long,
    assert_true_within_short,
)
from .testing.sequences import CONTINUE, test_sequence_gen

if TYPE_CHECKING:
    from .prefix import OvirtPrefix
    from .virt import OvirtVirtEnv

__all__ = [
    "LONG_TIMEOUT",
    "PREFIX_VARIABLE",
    "SHORT_TIMEOUT",
    "assert_equals_within",
    "assert_equals_within_long",
    "assert_equals_within_short",
    "assert_true_within",
    "assert_true_within_long",
    "assert_true_within_short",
    "continue_on_failure",
    "engine_capability",
    "get_test_prefix",
    "host_capability",
    "test_sequence_gen",
    "with_ovirt_api",
    "with_ovirt_api4",
    "with_ovirt_prefix",
]


Function = Callable[..., Any]


def get_test_prefix() -> OvirtPrefix:
    """Find the environment that is tested, the same object for all tests. Raises PrefixError if there is none."""
    from lago.environment.workdir import find_prefix

    return _prefix(find_prefix(os.environ.get(PREFIX_VARIABLE), None, "current").paths.prefix())


@functools.cache
def _prefix(path: str) -> OvirtPrefix:
    from .prefix import OvirtPrefix

    return OvirtPrefix(path)


def with_ovirt_prefix(func: Function) -> Function:
    """Decorator: pass the environment that is tested, an `OvirtPrefix`, as the first argument."""
    return _given(func, get_test_prefix)


def with_ovirt_api(func: Function) -> Function:
    """Decorator: pass a connection of `ovirtsdk4` to the engine as the first argument."""
    return _given(func, lambda: get_test_prefix().virt_env.the_engine().get_api())


with_ovirt_api4 = with_ovirt_api


def _given(func: Function, get: Callable[[], Any]) -> Function:
    """`func` with its first argument, after `self` if it is a method, made by `get` at each call."""
    parameters = list(inspect.signature(func).parameters.values())
    place = 1 if parameters and parameters[0].name == "self" else 0
    if len(parameters) == place:
        raise TypeError(f"{func.__qualname__} has no parameter for what it is to be given")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return func(*args[:place], get(), *args[place:], **kwargs)

    # By the signature pytest knows which fixtures a test wants.
    del parameters[place]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return wrapper


def engine_capability(caps: Iterable[str]) -> Callable[[Function], Function]:
    """Decorator: skip unless the engine has all capabilities of a list."""
    return _unless(lacking_of_engine, caps)


def host_capability(caps: Iterable[str]) -> Callable[[Function], Function]:
    """Decorator: skip unless every host has all capabilities of a list."""
    return _unless(lacking_of_hosts, caps)


def _unless(
    lacking: Callable[[OvirtVirtEnv, Iterable[str]], str], caps: Iterable[str]
) -> Callable[[Function], Function]:
    wanted = list(caps)

    def decorate(func: Function) -> Function:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            import pytest

            if reason := lacking(get_test_prefix().virt_env, wanted):
                pytest.skip(reason)
            return func(*args, **kwargs)

        return wrapper

    return decorate


def continue_on_failure(func: Function) -> Function:
    """Decorator: run the rest of a sequence all the same when this test of it fails."""
    import pytest

    marked: Function = getattr(pytest.mark, CONTINUE)(func)
    return marked
