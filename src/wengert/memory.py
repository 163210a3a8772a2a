"""Memory: how much of it this machine lets one result take.

>>> in_bytes(800), in_bytes(3.4 * 2**20), in_bytes(74.5 * 2**30)
('800 bytes', '3.4 MiB', '74.5 GiB')
"""

from __future__ import annotations

import contextlib
import os

UNKNOWN = 1 << 32
"""The memory that a machine is taken to have if it does not tell."""
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux tells the limit of a container."""


def quarter_of_memory() -> int:
    """Return a quarter of the memory of this machine, or of the container that the process runs in, in bytes."""
    sizes = []
    with contextlib.suppress(AttributeError, ValueError, OSError):  # elsewhere than on Unix
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in LIMITS:
        with contextlib.suppress(ValueError, OSError), open(path) as file:
            sizes.append(int(file.read()))  # "max" is no limit
    return min(sizes, default=UNKNOWN) // 4


def in_bytes(size: float) -> str:
    """Write a number of bytes in the unit that suits it."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            return f"{size / (1 << power):,.1f} {unit}"
    return f"{size:,.0f} bytes"
