"""A real redis-server of the tests' own: a free port, a folder of its own, gone with the process that started it. KEYS is disabled."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from pathlib import Path

SERVER = shutil.which("redis-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class RedisServer:
    """One server, started at once; `admin` is a plain client for what a test does behind a store's back."""

    def __init__(self, folder: Path, *options: str) -> None:
        assert SERVER is not None
        self.folder = folder
        self.port = free_port()
        self.options = options
        self.admin: Any = redis.Redis(port=self.port, socket_timeout=20, retry=Retry(NoBackoff(), 0))
        self.start()

    def start(self) -> None:
        own = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
            "--logfile",
            "log",
            "--save",
            "",
        ]
        command = [SERVER or "", *own, "--rename-command", "KEYS", "", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=_die_with_parent)
        for _ in range(200):
            try:
                self.admin.ping()
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:  # it loads, or does not listen yet
                time.sleep(0.01)
            else:
                return
        self.kill()
        raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        """As by `kill -9`."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.admin.close()
        if self.process.poll() is None:
            self.kill()

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"
