"""Bring one declared file to its place: from its origin (resumed, never half in place) or from a folder; and check it.

Only the standard library. The data of each model is in scripts/fetch_<model>.toml.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ireeperf.errors import PipelineError

CHUNK = 1 << 20
TOKEN_HOST = "huggingface.co"  # the only host that ever sees HF_TOKEN; the storage hosts that it redirects to never do
TRIES = 5
Progress = Callable[[str, int, int | None], None]  # place, bytes so far, bytes in all (None: not known)


class FetchError(PipelineError):
    """One file could not be brought, or is not the one that was declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who publishes files, and on what terms."""

    url: str  # ends with "/"
    page: str  # where a person reads the terms and asks for access
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file: where from, where to, and how it is recognised."""

    origin: str
    source: str  # below the origin's url
    place: str  # below the model's data folder
    bytes: int | None = None  # None: its publisher does not say
    checksum: str  # "sha256:<64 hex>", "git-blob-sha1:<40 hex>", or "" when nobody publishes one
    kind: Literal["checkpoint", "weights", "captions"]
    dtype: Literal["float16", "float32"] | None = None  # None: needed with either

    @property
    def size_text(self) -> str:
        return "size not published" if self.bytes is None else f"{self.bytes:,} bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceList:
    """Everything that one model needs from outside."""

    schema_version: ClassVar[int] = 1
    model: str
    checkpoint: str
    weights: str
    captions: str
    origins: dict[str, Origin]
    files: tuple[SourceFile, ...]


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but take the token along only to the host that it is for."""

    def __init__(self, token_host: str) -> None:
        self.token_host = token_host

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if request is not None and token and _may_see_token(newurl, self.token_host):
            request.add_unredirected_header("Authorization", token)
        return request


def _may_see_token(url: str, token_host: str) -> bool:
    """Whether `url` is the token's host, over TLS (or a test's server on this machine)."""
    parts = urllib.parse.urlsplit(url)
    return parts.netloc == token_host and (parts.scheme == "https" or parts.hostname == "127.0.0.1")


def checksum(path: Path, kind: str) -> str:
    """"sha256:<hex>" or "git-blob-sha1:<hex>" of a file, read in pieces."""
    if kind == "git-blob-sha1":
        state = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        state = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            state.update(piece)
    return f"{kind}:{state.hexdigest()}"


def check(file: SourceFile, path: Path) -> Literal["verified", "unverified"]:
    """Compare `path` with what was declared; FetchError when it is another file, "unverified" when nothing was published."""
    found = path.stat().st_size
    if file.bytes is not None and found != file.bytes:
        raise FetchError(f"{path.name} has {found:,} bytes, declared {file.bytes:,}")
    if not file.checksum:
        return "unverified"
    digest = checksum(path, file.checksum.partition(":")[0])
    if digest != file.checksum:
        raise FetchError(f"{path.name} has {digest}, declared {file.checksum}")
    return "verified"


def copy(file: SourceFile, folder: Path, destination: Path) -> Literal["verified", "unverified"]:
    """Take `file` from a local folder: laid out as the data folder is, as one part of it, or as at its origin."""
    inner = file.place.removeprefix("checkpoint/").removeprefix("weights/")
    candidates = dict.fromkeys(folder / name for name in (file.place, inner, file.source))
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise FetchError(f"not in {folder} (looked for {', '.join(str(p.relative_to(folder)) for p in candidates)})")
    partial = _partial(destination)
    try:
        shutil.copyfile(found, partial)
        verdict = check(file, partial)
        partial.replace(destination)
    finally:
        partial.unlink(missing_ok=True)
    return verdict


def download(file: SourceFile, url: str, destination: Path, *, token: str | None, page: str, progress: Progress,
             token_host: str = TOKEN_HOST, pause_s: float = 1.0) -> Literal["verified", "unverified"]:
    """Download `url` to `destination`, going on where an earlier try stopped. The place is taken only by a checked file."""
    partial = _partial(destination)
    opener = urllib.request.build_opener(_Redirects(token_host))
    for attempt in range(1, TRIES + 1):
        try:
            _continue(file, url, partial, opener, token if _may_see_token(url, token_host) else None, page, progress)
            break
        except (http.client.HTTPException, TimeoutError, ConnectionError, urllib.error.URLError) as error:
            if attempt == TRIES:
                reason = getattr(error, "reason", error)
                raise FetchError(f"the connection failed {TRIES} times, last: {reason}; what arrived is kept, run again") from error
            time.sleep(pause_s * 2 ** (attempt - 1))
    try:
        verdict = check(file, partial)
    except FetchError:
        partial.unlink(missing_ok=True)  # to go on from wrong bytes would never end well
        raise
    partial.replace(destination)
    return verdict


def _continue(file: SourceFile, url: str, partial: Path, opener: urllib.request.OpenerDirector, token: str | None, page: str,
              progress: Progress) -> None:
    """One request for what `partial` still lacks."""
    have = partial.stat().st_size if partial.exists() else 0
    if have and have == file.bytes:
        return
    request = urllib.request.Request(url, headers={"User-Agent": "ireeperf-fetch"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        response = opener.open(request, timeout=60)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:  # nothing after what we have: it is complete, or of another file
                if file.bytes not in (None, have):
                    partial.unlink()
                    raise ConnectionError(f"{have:,} bytes were kept of a file of {file.bytes:,}; starting again") from None
                return
            if error.code in (429, 500, 502, 503, 504):
                raise ConnectionError(f"HTTP {error.code}") from None
            raise FetchError(_refused(error.code, page)) from None
    with response:
        start = _start(response, have)
        total = file.bytes if file.bytes is not None else _length(response, start)
        _receive(response, partial, start, total, lambda done: progress(file.place, done, total))


def _start(response: http.client.HTTPResponse, have: int) -> int:
    """Where the answer's first byte belongs: a server that ignores Range sends the file from its beginning."""
    if response.status != 206:
        return 0
    first = (response.headers.get("Content-Range") or "").removeprefix("bytes ").partition("-")[0]
    if first != str(have):
        raise FetchError(f"the server answered with the range {response.headers.get('Content-Range')!r}, asked from {have}")
    return have


def _length(response: http.client.HTTPResponse, start: int) -> int | None:
    length = response.headers.get("Content-Length")
    return None if length is None else start + int(length)


def _receive(response: http.client.HTTPResponse, partial: Path, start: int, total: int | None,
             progress: Callable[[int], None]) -> None:
    """Append the body from `start`; ConnectionError when the server stopped short of `total`."""
    with partial.open("r+b" if partial.exists() else "wb") as out:
        out.seek(start)
        out.truncate()
        done = start
        while piece := response.read(CHUNK):
            out.write(piece)
            done += len(piece)
            progress(done)
    if total is not None and done < total:
        raise ConnectionError(f"the server stopped after {done:,} of {total:,} bytes")


def _refused(code: int, page: str) -> str:
    if code in (401, 403):
        return f"HTTP {code}: access is gated; accept the terms at {page}, then set HF_TOKEN to a token of that account"
    return f"HTTP {code} from the origin; see {page}"


def _partial(destination: Path) -> Path:
    destination.parent.mkdir(parents=True, exist_ok=True)
    return destination.with_name(f".{destination.name}.partial")
