"""Files: machine code that is kept in a folder from one process to the next.

A file is named by the hash of all that its code depends on, and holds a checksum: what is damaged, cut short or stands
under another name is as good as not there.  Code is run, so none is read that another user could have written: the
folder and the file belong to this user, and nobody else may write to them.  A file is written under a name of its own
and then renamed, so several processes may read and write at once.  What cannot be read or written is done without.

The folder is ``wengert`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; the environment variable `VARIABLE` names another one,
or turns it ``off``.

>>> import tempfile
>>> store = Files(Path(tempfile.mkdtemp()))
>>> store.save("code of f", b"machine code")
>>> store.load("code of f"), store.load("code of g")
(b'machine code', None)
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import stat
import time
from pathlib import Path

VARIABLE = "WENGERT_CACHE"
"""The environment variable that names the folder, or turns it off (``off``)."""
MOST_BYTES, MOST_FILES = 64 << 20, 4_000
"""The size of the folder: when it is exceeded, the files go that were used longest ago, down to three quarters."""
LARGEST = 8 << 20
"""The size of a file above which it is not written."""
_MAGIC = b"wengert machine code\n"
_EVERY = 64
"""How many files a process writes from one look at the size of the folder to the next."""
_STALE = 3_600.0
"""The age in seconds of an unfinished file that nobody is going to finish."""


class Files:
    """The files of a folder, by keys: texts that name all that the content depends on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count()

    def load(self, key: str) -> bytes | None:
        """Return the content of a key; None where there is none that may be trusted."""
        try:
            if not self._is_ours(os.lstat(self.folder), stat.S_ISDIR):
                return None
            path = self._path(key)
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0))
            with os.fdopen(descriptor, "rb") as file:
                if not self._is_ours(os.fstat(descriptor), stat.S_ISREG):
                    return None
                data = file.read(LARGEST + 1)
        except OSError:
            return None
        head = len(_MAGIC) + hashlib.sha256().digest_size
        content = data[head:]
        if data[:head] != _MAGIC + _checksum(key, content):
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        return content

    def save(self, key: str, content: bytes) -> None:
        """Keep a content, if that is possible."""
        if len(content) > LARGEST // 2:
            return
        temporary = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours(os.lstat(self.folder), stat.S_ISDIR):
                return
            number = next(self._numbers)
            temporary = self.folder / f"{os.getpid()}-{time.monotonic_ns()}-{number}.part"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MAGIC + _checksum(key, content) + content)
            os.replace(temporary, self._path(key))
            temporary = None
            if number % _EVERY == 0:
                self._shrink()
        except OSError:
            pass
        finally:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    temporary.unlink()

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.code"

    @staticmethod
    def _is_ours(status: os.stat_result, is_kind: object) -> bool:
        """Return whether a folder or file belongs to this user, who alone may write to it."""
        own = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
        return bool(is_kind(status.st_mode)) and own and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)  # type: ignore[operator]

    def _shrink(self) -> None:
        """Remove what was left unfinished, and the files that were used longest ago if there are too many."""
        files = []
        for entry in os.scandir(self.folder):
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if entry.name.endswith(".part"):
                    if time.time() - status.st_mtime > _STALE:
                        os.unlink(entry.path)
                elif entry.name.endswith(".code"):
                    files.append((status.st_mtime, status.st_size, entry.path))
        total, count = sum(size for _, size, _ in files), len(files)
        if total <= MOST_BYTES and count <= MOST_FILES:
            return
        for _, size, path in sorted(files):
            if total <= MOST_BYTES * 3 // 4 and count <= MOST_FILES * 3 // 4:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            total, count = total - size, count - 1


def _checksum(key: str, content: bytes) -> bytes:
    return hashlib.sha256(len(key).to_bytes(8, "little") + key.encode() + content).digest()


@functools.cache
def files() -> Files | None:
    """Return the files of this user; None where they are turned off, or there is no folder for them."""
    text = os.environ.get(VARIABLE, "").strip()
    if text.lower() in ("off", "false", "no", "0"):
        return None
    if text:
        return Files(Path(text).expanduser())
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return Files((Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "wengert")
    except RuntimeError:  # no home
        return None
