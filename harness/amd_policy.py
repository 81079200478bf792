"""AMD's batching in its MLPerf v5.1 SDXL harness, as a Batching: what the simulator explains the record with.

Source: nod-ai/SHARK-MLPERF, branch v5.1, SDXL_inference/sdxl_backend.py: `issue_queries`, `batch_samples_loop`. One compiled
size; Offline slices its query. Server pairs requests in a thread of its own: a request that comes 3 s or more after the last
batch was put out goes at once and alone, any other waits for company until the thread's `get` has seen nothing for 3 s.
Shared workers draw from one queue, so its FIFO is FifoPolicy's.
"""

from __future__ import annotations

from ireeperf.errors import ConfigError
from runtime.batching import Draw, Hold, Queue

BATCHER_SECONDS = 3.0  # harness.py: 3 whatever --batcher_limit says


class FixedSize:
    """Batches of one size. `batcher_s` None: a partial batch goes at once, as in AMD's Offline."""

    def __init__(self, size: int, batcher_s: float | None = BATCHER_SECONDS) -> None:
        if size < 1 or (batcher_s is not None and not batcher_s > 0):
            raise ConfigError(f"batch size {size}, batcher {batcher_s} s; a size of at least 1 and seconds above 0 are needed")
        self.sizes: tuple[int, ...] = (size,)
        self._batcher_ns = None if batcher_s is None else int(batcher_s * 1e9)
        self._flushed_ns = 0  # the thread's clock starts with the first request

    def learn(self, size: int, seconds: float) -> None:
        """Nothing is learned: AMD's batcher has no service-time model."""

    def decide(self, queue: Queue, now_ns: int) -> Draw | Hold:
        """A full batch when there is one; else alone after the batcher's time.

        The pool asks when a device is idle, AMD's thread pairs as requests come; while all devices are busy, requests queue
        and go out in pairs either way, only `last flush` is then later than AMD's.
        """
        size = self.sizes[0]
        wait_ns = self._batcher_ns if queue.waiting < size else None
        if wait_ns is not None and queue.oldest_ns - self._flushed_ns < wait_ns and now_ns < queue.oldest_ns + wait_ns:
            return Hold(until_ns=queue.oldest_ns + wait_ns)
        self._flushed_ns = now_ns
        return Draw(size=size, count=min(size, queue.waiting))
