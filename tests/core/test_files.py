"""Files that appear whole or not at all, and the locks behind them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastnn._core.files import replacing, save_json
from fastnn._core.locks import FolderLock, Lock
from support.forks import forked


def test_leftovers_are_swept_but_not_what_is_in_use(tmp_path: Path) -> None:
    code = "import os, signal, sys; from pathlib import Path; from fastnn._core.files import replacing"
    body = "with replacing(Path(sys.argv[1]) / 'a') as path:\n path.touch()\n os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", f"{code}\n{body}", tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    (tmp_path / ".fastnn-cache").mkdir()  # a user's own
    (left,) = tmp_path.glob(".fastnn-unfinished-*")
    with replacing(tmp_path / "b") as inside:
        assert not left.exists()
        save_json(tmp_path / "c", {})
        inside.write_text("b")
    assert {path.name for path in tmp_path.iterdir()} == {".fastnn-cache", "b", "c"}


def test_what_is_no_file_is_written_to_as_it_is(tmp_path: Path) -> None:
    """A pipe or a device that had the name would be gone, and its reader would wait."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    save_json(tmp_path / "pipe", {})
    assert os.read(reader, 100) == b"{}\n"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a/file")
    for text in ("first", "second"):
        save_json(tmp_path / "link", {"text": text})
        assert text in (tmp_path / "a" / "file").read_text()
    assert (tmp_path / "link").is_symlink()


def test_a_lock_excludes_others_and_is_not_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = Lock(path)
    with pytest.raises(BlockingIOError):
        Lock(path)
    child = forked()  # it outlives the lock
    lock.release()
    Lock(path).release()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_who_has_a_folder(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(BlockingIOError, match=f"process {os.getpid()} on "):
        FolderLock(tmp_path)
    lock.release()
    assert list(tmp_path.iterdir()) == []
