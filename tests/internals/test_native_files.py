"""Machine code in files: what is damaged or foreign is done without, and processes do not disturb each other."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from wengert.compilation.native import engine, files
from wengert.compilation.native.files import Files
from wengert.compilation.native.layout import fits

CONTENT = bytes(range(256)) * 20


@pytest.fixture
def store(tmp_path):
    return Files(tmp_path / "kernels")


def only_file(store):
    (path,) = store.folder.iterdir()
    return path


# ---- One file ----


def test_what_is_saved_is_loaded(store):
    assert store.load("f") is None
    store.save("f", CONTENT)
    store.save("empty", b"")
    assert (store.load("f"), store.load("empty"), store.load("g")) == (CONTENT, b"", None)
    assert Files(store.folder).load("f") == CONTENT
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}


def test_every_cut_and_every_flipped_byte_is_noticed(store):
    store.save("f", CONTENT[:200])
    path = only_file(store)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert store.load("f") is None
    for k in range(len(data)):
        path.write_bytes(data[:k] + bytes([data[k] ^ 1]) + data[k + 1 :])
        assert store.load("f") is None
    path.write_bytes(data + b"\0")
    assert store.load("f") is None
    store.save("f", CONTENT)
    assert store.load("f") == CONTENT


def test_a_file_under_another_name_is_not_taken(store):
    store.save("f", CONTENT)
    only_file(store).rename(store._path("g"))
    assert store.load("g") is None


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_what_others_could_have_written_is_not_read(store, tmp_path):
    store.save("f", CONTENT)
    path = only_file(store)
    for what, usual in ((path, 0o600), (store.folder, 0o700)):
        for mode in (0o020, 0o002):
            what.chmod(usual | mode)
            assert store.load("f") is None
        what.chmod(usual)
        assert store.load("f") == CONTENT
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert store.load("f") is None
    link = tmp_path / "link"
    link.symlink_to(store.folder)
    Files(link).save("g", CONTENT)
    assert Files(link).load("g") is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_user_is_not_read(store):
    store.save("f", CONTENT)
    os.chown(only_file(store), 12345, -1)
    assert store.load("f") is None
    os.chown(store.folder, 12345, -1)
    store.save("g", CONTENT)
    assert len(list(store.folder.iterdir())) == 1


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/wengert"), Path("/dev/null")):
        store = Files(folder)
        store.save("f", CONTENT)
        assert store.load("f") is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_read(store):
    store.save("f", CONTENT)
    store.folder.chmod(0o500)
    try:
        store.save("g", CONTENT)
        assert (store.load("f"), store.load("g")) == (CONTENT, None)
    finally:
        store.folder.chmod(0o700)


def test_the_folder_stays_small(store, monkeypatch):
    monkeypatch.setattr(files, "MOST_FILES", 40)
    store.folder.mkdir(mode=0o700)
    (store.folder / "1-2-3.part").write_bytes(CONTENT)
    os.utime(store.folder / "1-2-3.part", (0, 0))
    (store.folder / "notes.txt").write_bytes(b"of the user")
    for k in range(files._EVERY + 1):
        store.save(f"f{k}", CONTENT)
        os.utime(store._path(f"f{k}"), (k, k))
        store.load("f0")  # used all the time
    names = {path.name for path in store.folder.iterdir()}
    assert len(names) <= 31
    assert "1-2-3.part" not in names
    assert "notes.txt" in names
    assert store.load("f0") == store.load(f"f{files._EVERY}") == CONTENT
    store.save("large", bytes(files.LARGEST))
    assert store.load("large") is None


def test_many_threads_and_processes(store):
    def work():
        for k in range(200):
            store.save(f"f{k % 5}", bytes([k % 5]) * 10_000)
            assert store.load(f"f{k % 5}") == bytes([k % 5]) * 10_000

    code = (
        "import sys; from pathlib import Path; from wengert.compilation.native.files import Files\n"
        "store = Files(Path(sys.argv[1]))\n"
        "for k in range(400):\n"
        "    store.save(f'f{k % 5}', bytes([k % 5]) * 10_000)\n"
        "    assert store.load(f'f{k % 5}') == bytes([k % 5]) * 10_000\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, str(store.folder)]) for _ in range(2)]
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(60) for process in processes] == [0, 0]
    assert len(list(store.folder.iterdir())) == 5


# ---- Where it is ----


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    def folder(**environment):
        files.files.cache_clear()
        for name in ("WENGERT_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        store = files.files()
        return store and store.folder

    try:
        home = Path("~").expanduser()
        assert folder() == home / ".cache" / "wengert"
        assert folder(XDG_CACHE_HOME=str(tmp_path)) == tmp_path / "wengert"
        assert folder(XDG_CACHE_HOME="relative") == home / ".cache" / "wengert"
        assert folder(XDG_CACHE_HOME=str(tmp_path), WENGERT_CACHE="~/kernels") == home / "kernels"
        for off in ("off", "OFF", "0", "no", "false"):
            assert folder(WENGERT_CACHE=off) is None
    finally:
        monkeypatch.undo()
        files.files.cache_clear()


# ---- What the engine keeps ----

CODE = """
import sys, numpy as np, wengert as wg
def f(x):
    return np.sum(np.log(x) * x[::-1]) if x[0] > 0 else np.sum(x)
g = wg.jit(wg.grad(f))
x = np.array([0.5, 2.0, 3.0])
results = [g(x) for _ in range(4)]
assert all(np.array_equal(r, results[0]) for r in results), results
assert [s.native is not None for s in g._signatures()] == [True]
print(results[0].tolist(), len(list(__import__("pathlib").Path(sys.argv[1]).glob("*.code"))))
"""


def start(folder, **environment):
    environment = {**os.environ, "WENGERT_NATIVE": "1", "WENGERT_CACHE": str(folder), **environment}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(folder)], env=environment, stdout=subprocess.PIPE, text=True
    )


def outputs(*processes):
    printed = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return printed


@pytest.mark.skipif(not fits(), reason="there is no native code here")
def test_two_processes_and_damaged_files(tmp_path):
    folder = tmp_path / "kernels"
    one, other = outputs(start(folder), start(folder))
    assert one == other
    paths = sorted(folder.glob("*.code"))
    assert len(paths) == 2  # the kernel, and the function that CPython calls
    times = [path.stat().st_mtime_ns for path in paths]
    contents = [path.read_bytes() for path in paths]
    time.sleep(0.02)
    assert outputs(start(folder)) == [one]
    assert [path.read_bytes() for path in paths] == contents
    assert all(path.stat().st_mtime_ns > before for path, before in zip(paths, times, strict=True))  # were used
    for damage in (
        lambda data: data[:-9],
        lambda data: data[:999] + bytes([data[999] ^ 64]) + data[1000:],
        lambda _: b"",
    ):
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(damage(content))
        assert outputs(start(folder)) == [one]
        assert [path.read_bytes() for path in paths] == contents
    off = tmp_path / "off"
    assert outputs(start("off", XDG_CACHE_HOME=str(off))) == [one.replace("] 2", "] 0")]
    assert not off.exists()


@pytest.mark.skipif(not fits(), reason="there is no native code here")
def test_the_key_names_what_code_depends_on(monkeypatch, tmp_path):
    made = engine._engine()
    store = Files(tmp_path)
    monkeypatch.setattr(engine, "files", lambda: store)
    text = "define i32 @one() {\n  ret i32 1\n}"
    codes = [made.machine_code(text, False), made.machine_code(text, True)]
    monkeypatch.setattr(made, "described", f"{made.described} of another processor")
    codes.append(made.machine_code(text, False))
    assert len(list(tmp_path.glob("*.code"))) == 3
    assert all(codes)


@pytest.mark.skipif(not fits(), reason="there is no native code here")
def test_equal_texts_share_their_code():
    text = "define i32 @shared() {\n  ret i32 7\n}"
    one, other = (engine.compile_texts([text], "shared") for _ in range(2))
    assert one is other
