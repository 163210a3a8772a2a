"""Threads: how the steps of a long nest are divided among some of the operating system's threads.

A nest whose steps are independent is a function of a range of them.  Machine code calls `wengert_parallel`, which
starts the threads, runs the first part itself, waits for the others, and takes over the processor's flags that they
have set.  Threads live as long as one nest, so there is nothing to be kept, and a process may fork.  Where parts begin
depends on the number of threads, what is computed does not: a part begins at a multiple of what vectors take at once.

>>> before = set_threads(4)
>>> threads(), set_threads(before)
(4, 4)
"""

from __future__ import annotations

import ctypes
import os

from wengert.errors import ArgumentError

VARIABLE = "WENGERT_THREADS"
"""The environment variable that says how many threads there are from the beginning."""
MOST = 64
"""The largest number of threads."""


def _from_environment() -> int:
    text = os.environ.get(VARIABLE, "").strip()
    return min(max(int(text), 1), MOST) if text.isdecimal() else 1


_count = ctypes.c_int64(_from_environment())
"""The number of threads, where machine code reads it."""


def threads() -> int:
    """Return the number of threads that machine code divides long loops among."""
    return _count.value


def set_threads(n: int) -> int:
    """Let machine code divide long loops over arrays among `n` threads, and return how many it was before.

    It is one from the beginning, or what the environment variable ``WENGERT_THREADS`` says.  Results do not depend on
    it, not in their last bits.  Loops that take less than about a fifth of a millisecond are not divided.

    >>> import wengert as wg
    >>> before = wg.set_threads(2)
    >>> wg.set_threads(before)
    2
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST:
        raise ArgumentError.at_caller(f"set_threads({n!r}):", f"Pass a whole number from 1 to {MOST}.")
    before, _count.value = _count.value, n
    return before


def address_of_count() -> int:
    """Return the address of the number of threads."""
    return ctypes.addressof(_count)


TEXT = f"""\
%Task = type {{ ptr, ptr, i64, i64, i32 }}
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(i64, ptr)

define internal void @run(ptr %task) nounwind {{
  %function = load ptr, ptr %task
  %context.at = getelementptr %Task, ptr %task, i64 0, i32 1
  %context = load ptr, ptr %context.at
  %begin.at = getelementptr %Task, ptr %task, i64 0, i32 2
  %begin = load i64, ptr %begin.at
  %end.at = getelementptr %Task, ptr %task, i64 0, i32 3
  %end = load i64, ptr %end.at
  call void %function(ptr %context, i64 %begin, i64 %end)
  %flags.at = getelementptr %Task, ptr %task, i64 0, i32 4
  call void asm sideeffect "stmxcsr $0", "=*m,~{{memory}}"(ptr elementtype(i32) %flags.at)
  ret void
}}

define internal ptr @start(ptr %task) nounwind {{
  call void @run(ptr %task)
  ret ptr null
}}

define void @wengert_parallel(ptr %function, ptr %context, i64 %count, i64 %grain, i64 %threads) nounwind {{
  %tasks = alloca [{MOST} x %Task], align 16
  %started = alloca [{MOST} x i64], align 16
  %csr = alloca i32
  %less = sub i64 %count, 1
  %divided = udiv i64 %less, %threads
  %grains = udiv i64 %divided, %grain
  %grains.up = add i64 %grains, 1
  %length = mul i64 %grains.up, %grain
  br label %next
next:
  %k = phi i64 [ 0, %0 ], [ %k.next, %goes ]
  %begin = mul i64 %k, %length
  %more = icmp ult i64 %begin, %count
  br i1 %more, label %prepare, label %wait
prepare:
  %sum = add i64 %begin, %length
  %is.last = icmp ugt i64 %sum, %count
  %end = select i1 %is.last, i64 %count, i64 %sum
  %task = getelementptr %Task, ptr %tasks, i64 %k
  store ptr %function, ptr %task
  %context.at = getelementptr %Task, ptr %task, i64 0, i32 1
  store ptr %context, ptr %context.at
  %begin.at = getelementptr %Task, ptr %task, i64 0, i32 2
  store i64 %begin, ptr %begin.at
  %end.at = getelementptr %Task, ptr %task, i64 0, i32 3
  store i64 %end, ptr %end.at
  %thread = getelementptr i64, ptr %started, i64 %k
  store i64 0, ptr %thread
  %is.first = icmp eq i64 %k, 0
  br i1 %is.first, label %goes, label %create
create:
  %failed = call i32 @pthread_create(ptr %thread, ptr null, ptr @start, ptr %task)
  %created = icmp eq i32 %failed, 0
  br i1 %created, label %goes, label %alone
alone:
  store i64 0, ptr %thread
  call void @run(ptr %task)
  br label %goes
goes:
  %k.next = add i64 %k, 1
  br label %next
wait:
  call void @run(ptr %tasks)
  br label %join
join:
  %j = phi i64 [ 0, %wait ], [ %j.next, %joined ]
  %flags = phi i32 [ 0, %wait ], [ %flags.all, %joined ]
  %is.done = icmp eq i64 %j, %k
  br i1 %is.done, label %done, label %one
one:
  %handle.at = getelementptr i64, ptr %started, i64 %j
  %handle = load i64, ptr %handle.at
  %is.here = icmp eq i64 %handle, 0
  br i1 %is.here, label %joined, label %wait.for
wait.for:
  %ignored = call i32 @pthread_join(i64 %handle, ptr null)
  br label %joined
joined:
  %flags.at = getelementptr %Task, ptr %tasks, i64 %j, i32 4
  %flags.one = load i32, ptr %flags.at
  %flags.new = and i32 %flags.one, 63
  %flags.all = or i32 %flags, %flags.new
  %j.next = add i64 %j, 1
  br label %join
done:
  call void asm sideeffect "stmxcsr $0", "=*m,~{{memory}}"(ptr elementtype(i32) %csr)
  %own = load i32, ptr %csr
  %together = or i32 %own, %flags
  store i32 %together, ptr %csr
  call void asm sideeffect "ldmxcsr $0", "*m,~{{memory}}"(ptr elementtype(i32) %csr)
  ret void
}}
"""
"""The function that divides `count` steps of a function of a context and a range, in multiples of `grain`."""
