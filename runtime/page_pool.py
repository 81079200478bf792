"""Pages of a paged KV cache: which are free, which belong to whom. Page 0 takes what belongs to no sequence and is never given out."""

from __future__ import annotations

from ireeperf.errors import ConfigError


class PagePool:
    """Free pages of one device's cache, last freed first out (it is the likeliest to be in a cache of the processor)."""

    def __init__(self, pages: int) -> None:
        if pages < 2:
            raise ConfigError(f"a KV cache of {pages} pages has none to give: page 0 belongs to no sequence")
        self._free = list(range(pages - 1, 0, -1))
        self._taken: set[int] = set()

    @property
    def free(self) -> int:
        """Pages that `take` could give."""
        return len(self._free)

    @property
    def taken(self) -> int:
        """Pages that belong to a sequence."""
        return len(self._taken)

    def take(self, count: int) -> list[int]:
        """`count` pages; more than there are is a bug of the caller."""
        assert count <= len(self._free), f"{count} pages of {len(self._free)} free ones"
        taken = [self._free.pop() for _ in range(count)]
        self._taken.update(taken)
        return taken

    def give_back(self, pages: list[int]) -> None:
        """`pages` are free again. One that was not taken, or is given back twice, is a bug: it would serve two sequences."""
        for page in pages:
            assert page in self._taken, f"page {page} was not taken"
            self._taken.remove(page)
            self._free.append(page)
