"""Which prefixes use which images of a store, so that none is removed that a prefix backs on.

Of each prefix there is `.users/<uuid>.json` in the store, which says where it is and what it uses, and where file
systems allow it `.users/<uuid>`, a hard link to the file `uuid` in the prefix. As long as that has another link the
prefix exists, wherever it was moved to; it needs not be told that it is gone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from ..host import shape, trust
from ..host.files import PUBLIC, json_text, write_atomically
from ..host.locks import lock_file
from ..log import LOG

_NOTE: Final = shape.record({"path": shape.text(), "images": shape.listing(shape.text())})


class User(NamedTuple):
    """A prefix that uses images.

    Attributes:
        path: where it was when it last said so.
        state: `here`; `moved`, nobody knows where to; `missing`, when it was on another file system and is not where
            it was; or `gone`.
    """

    uuid: str
    path: str
    images: frozenset[str]
    state: Literal["here", "moved", "missing", "gone"]


class Users:
    """The users of the images in the directory `store`."""

    def __init__(self, store: str) -> None:
        self._root = os.path.join(store, ".users")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Context manager: nobody else adds or removes a user."""
        os.makedirs(self._root, exist_ok=True)
        with lock_file(os.path.join(self._root, ".lock"), what=f"the list of users {self._root}"):
            yield

    def register(
        self, uuid_path: str, images: Iterable[str], prefix: str | None = None, *, replace: bool = False
    ) -> None:
        """Record that a prefix uses images, besides those that it uses already.

        Args:
            uuid_path: its file `uuid`.
            images: their identities.
            prefix: where it will be, if not where that file is.
            replace: it uses just these.
        """
        uuid = trust.read_uuid(uuid_path)
        path = os.path.abspath(prefix or os.path.dirname(uuid_path))
        images = {*images}
        if not images and not os.path.isdir(self._root):
            return
        try:
            with self.locked():
                self.sweep()
                self._link(uuid_path, uuid)
                _, before = self._read(uuid)
                kept = images | (set() if replace else before)
                write_atomically(self._note(uuid), json_text({"path": path, "images": sorted(kept)}), PUBLIC)
        except PermissionError as error:
            LOG.debug("%s does not say what it uses: %s", path, error)
        except OSError as error:
            if os.access(self._root, os.W_OK) or os.access(os.path.dirname(self._root), os.W_OK):
                raise
            # A store that is read-only: whoever may prune it knows who uses it.
            LOG.debug("%s does not say what it uses: %s", path, error)

    def linked(self, uuid_path: str, uuid: str) -> bool:
        """Whether there is a link to its file `uuid`, or can't be one as that is on another file system."""
        try:
            return os.path.samefile(uuid_path, os.path.join(self._root, uuid))
        except FileNotFoundError:
            return os.stat(uuid_path).st_dev != os.stat(self._root).st_dev

    def _link(self, uuid_path: str, uuid: str) -> None:
        link = os.path.join(self._root, uuid)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samefile(uuid_path, link):
                return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)
        try:
            os.link(uuid_path, link)
        except OSError as error:
            LOG.debug("no link to %s: %s", uuid_path, error)

    def unregister(self, uuid: str) -> None:
        """Remove a prefix that is gone from the users. Raises PrefixError if it is no UUID, of which paths are made."""
        trust.checked_uuid(uuid, self._root)
        if not os.path.exists(self._note(uuid)):
            return
        with contextlib.suppress(PermissionError), self.locked():
            self._remove(uuid)

    def _remove(self, uuid: str) -> None:
        for path in (self._note(uuid), os.path.join(self._root, uuid)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def place(self, uuid: str) -> str:
        """Path where a prefix said that it is; empty if it never did."""
        return self._read(uuid)[0]

    def all(self) -> list[User]:
        """Users of all images, also what is gone."""
        with contextlib.suppress(FileNotFoundError):
            names = {name.removesuffix(".json") for name in os.listdir(self._root) if not name.startswith(".")}
            return [self._user(name) for name in sorted(names)]
        return []

    def of(self, identity: str) -> list[User]:
        """Users of an image."""
        return [user for user in self.all() if identity in user.images and user.state != "gone"]

    def sweep(self, *, missing: bool = False) -> None:
        """Forget what is gone, and also what is missing; hold `locked` meanwhile."""
        for user in self.all():
            if user.state == "gone" or (missing and user.state == "missing"):
                self._remove(user.uuid)

    def _user(self, uuid: str) -> User:
        path, images = self._read(uuid)
        return User(uuid, path, frozenset(images), self._state(uuid, path))

    def _state(self, uuid: str, path: str) -> Literal["here", "moved", "missing", "gone"]:
        with contextlib.suppress(OSError), open(os.path.join(path, "uuid"), encoding="utf-8") as file:
            if file.read().strip() == uuid:
                return "here"
        try:
            return "moved" if os.stat(os.path.join(self._root, uuid)).st_nlink > 1 else "gone"
        except FileNotFoundError:
            return "missing"

    def _read(self, uuid: str) -> tuple[str, set[str]]:
        """Read where a prefix is and what it uses."""
        try:
            with open(self._note(uuid), encoding="utf-8") as file:
                note = _NOTE(shape.parse(file.read(shape.MOST)))
            return note["path"], set(note["images"])
        except (OSError, ValueError):
            return "", set()

    def _note(self, uuid: str) -> str:
        return os.path.join(self._root, f"{uuid}.json")
