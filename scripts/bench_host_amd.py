"""A model of AMD's response path, not AMD's code: a worker process, FP16 batches pickled through one queue, one converting thread.

From the description of SHARK-MLPERF v5.1: queries in lists of the batch size, a JoinableQueue to the workers, answers as
host FP16 arrays through one multiprocessing queue; the parent's one response thread transposes, converts to FP32, times 255,
clips, rounds, converts to uint8, copies into an array.array and calls QuerySamplesComplete. The worker's device takes 0 ms.
"""

from __future__ import annotations

import array
import multiprocessing
import time
from collections.abc import Sequence
from typing import Any

import mlperf_loadgen as lg
import numpy as np

from runtime.batch import Sample


def convert(image: np.ndarray) -> array.array[int]:
    """`image` [3, H, W] float16 in [0, 1] as the bytes of [H, W, 3] uint8."""
    pixels = image.transpose(1, 2, 0).astype(np.float32) * 255
    return array.array("B", np.clip(pixels, 0, 255).round().astype(np.uint8).tobytes())


def work(requests: Any, answers: Any, images: np.ndarray) -> None:
    """The worker process: each batch is answered at once; the last message is the CPU seconds that this took."""
    answers.put(None)
    before = time.process_time()
    while (batch := requests.get()) is not None:
        answers.put((batch, images[:len(batch)]))  # pickled by the queue's feeder thread
        requests.task_done()
    answers.put(time.process_time() - before)  # less the pickling of the batch in flight


class AmdPath:
    """The parent: `issue` is LoadGen's thread, `answer` the response thread."""

    def __init__(self, images: np.ndarray) -> None:
        context = multiprocessing.get_context("spawn")
        self._size, self._requests, self._answers = len(images), context.JoinableQueue(), context.Queue()
        self._worker = context.Process(target=work, args=(self._requests, self._answers, images), daemon=True)
        self._worker.start()
        self._answers.get()

    def issue(self, samples: Sequence[Sample]) -> None:
        for first in range(0, len(samples), self._size):
            self._requests.put([sample.id for sample in samples[first:first + self._size]])

    def answer(self, samples: int) -> float:
        """Answer `samples`, end the worker; its CPU seconds."""
        while samples > 0:
            ids, images = self._answers.get()
            pixels = [convert(image) for image in images]
            lg.QuerySamplesComplete([lg.QuerySampleResponse(id_, *each.buffer_info()) for id_, each in zip(ids, pixels, strict=True)])
            samples -= len(ids)
        self._requests.put(None)
        return float(self._answers.get())
