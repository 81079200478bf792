"""The one thread that starts and hears all child processes of a pool, and the memory that they share with it."""

from __future__ import annotations

import mmap
import os
import queue
import selectors
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


class Children:
    """Starts with the first `ask` and ends when all `groups` have left.

    One thread, because a child is killed by the kernel when the thread that started it ends (PR_SET_PDEATHSIG); and one
    shared file, because every mapping costs a file descriptor.
    """

    def __init__(self, shared_bytes: int, groups: int) -> None:
        self.file = os.memfd_create("ireeperf-answers")
        os.ftruncate(self.file, shared_bytes)  # memory is taken page by page, when a device opens
        self.memory = mmap.mmap(self.file, shared_bytes)
        self._groups = groups
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0)
        self._selector.register(self._wake, selectors.EVENT_READ, self._carry_out)
        self._thread: threading.Thread | None = None

    def ask(self, what: Callable[[], None]) -> None:
        """Run `what` in the thread."""
        self._asked.put(what)
        with self._lock:
            if self._thread is None:
                # daemon: ended by os._exit with the run, whatever state the children are in
                self._thread = threading.Thread(target=self._serve, name="children", daemon=True)
                self._thread.start()
            os.eventfd_write(self._wake, 1)

    def watch(self, connection: Connection[Any, Any], hear: Callable[[], None]) -> None:
        """Call `hear` in the thread whenever `connection` has something. In the thread."""
        self._selector.register(connection, selectors.EVENT_READ, hear)

    def unwatch(self, connection: Connection[Any, Any]) -> None:
        """In the thread, before it is closed."""
        self._selector.unregister(connection)

    def leave(self) -> None:
        """A group has no child any more and starts none."""
        with self._lock:
            self._groups -= 1
            if self._groups > 0:
                return
            if self._thread is not None:
                os.eventfd_write(self._wake, 1)
                return
        self._close()

    def _serve(self) -> None:
        while self._groups > 0:
            for key, _ in self._selector.select():
                key.data()
        self._close()

    def _carry_out(self) -> None:
        os.eventfd_read(self._wake)
        while not self._asked.empty():
            self._asked.get()()

    def _close(self) -> None:
        """The mapping stays while an image of it is in use."""
        self._selector.close()
        os.close(self._wake)
        os.close(self.file)
