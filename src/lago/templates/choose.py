"""Which image of the store a template of an init file is."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import FetchError
from ..log import LOG
from ..topology.model import TemplateImage
from .lockfile import Locked, LockFile
from .repository import TemplateRepository, base_of
from .store import TemplateStore


class Chooser:
    """Chooses images, and fetches or builds those that the store has not.

    Args:
        lock: what was chosen before.
        register: told the identity of each image before it is looked for, so that nobody removes it meanwhile.
    """

    def __init__(
        self,
        repository: TemplateRepository,
        store: TemplateStore,
        lock: LockFile | None = None,
        register: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.repository = repository
        self.store = store
        self._lock = lock
        self._register = register

    def get(self, name: str, version: str | None = None) -> TemplateImage:
        """Get the image of a template: that of the lock file, or else the latest.

        Raises:
            TemplateError: there is none, or not the one that is wanted.
            FetchError: it can't be had.
        """
        wanted = self._lock.wanted(name, version) if self._lock else None
        image = (self._image_of_lock(name, version, wanted) if wanted else None) or self._latest(name, version)
        self._record(name, version, image)
        return image

    def use(self, name: str, version: str, image: TemplateImage) -> None:
        """Record an image as that of a template, as something on disk is made of it. Raises TemplateError if frozen."""
        self._register(image.id)
        wanted = self._lock.wanted(name, version) if self._lock else None
        if wanted and wanted.image != image.id:
            self._mismatch(name, version, image.id)
        self._record(name, version, image)

    def _record(self, name: str, version: str | None, image: TemplateImage) -> None:
        if self._lock:
            self._lock.record(name, version, Locked(image.id, self.store.digest(image.id)))

    def _image_of_lock(self, name: str, version: str | None, wanted: Locked) -> TemplateImage | None:
        """The image of the lock file; None if it can't be had any more."""
        self._register(wanted.image)
        if not self.store.has(wanted.image):
            offered = self.repository.get_by_name(name).versions.values()
            same = next((one for one in offered if one.base == base_of(wanted.image)), None)
            if same is None or same.name != wanted.image:
                found = same.name if same else f"nothing of that name in the repository {self.repository.name}"
                self._mismatch(name, version, found)
                return None
            self.store.download(same)
        if (digest := self.store.digest(wanted.image)) != wanted.sha256:
            self._mismatch(name, version, f"{wanted.image}, sha256 {digest}")
            return None
        return self.store.image(wanted.image)

    def _mismatch(self, name: str, version: str | None, found: str) -> None:
        if self._lock:
            self._lock.mismatch(name, version, found)

    def _latest(self, name: str, version: str | None) -> TemplateImage:
        latest = self.repository.get_by_name(name).get_version(version)
        try:
            identity = latest.name
        except FetchError as error:
            stored = self.store.of_base(latest.base)
            if not stored:
                raise
            LOG.warning("%s; using %s, which the store has", error, stored[0])
            self._register(stored[0])
            self.store.check_origin(latest, stored[0])
            return self.store.image(stored[0])
        self._register(identity)
        return self.store.ensure(latest)
