"""scripts/fetch against a server on this machine: resume, wrong bytes, gates, redirects, and who sees the token."""

from __future__ import annotations

import hashlib
import http.server
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ireeperf import document
from ireeperf.errors import ConfigError
from scripts import fetch_files
from scripts.fetch_files import FetchError, SourceFile, SourceList

ROOT = Path(__file__).resolve().parents[1]
DECLARED = document.read(SourceList, ROOT / "scripts" / "fetch_sdxl.toml")
CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Origin(http.server.BaseHTTPRequestHandler):
    """An origin whose behaviour follows from the first part of the path."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str | None, str | None]]  # path, Range, Authorization
    elsewhere = ""  # where /redirect/ leads

    def do_GET(self) -> None:
        kind, asked = self.path.split("/")[1], self.headers.get("Range")
        self.seen.append((self.path, asked, self.headers.get("Authorization")))
        cut = kind == "cut" and sum(path == self.path for path, _, _ in self.seen) == 1
        if kind == "redirect":
            self.answer(302, b"", Location=f"{self.elsewhere}/plain/stored")
        elif kind in ("401", "403", "404", "503"):
            self.answer(int(kind), b"no")
        elif asked and kind != "norange":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                self.answer(416, b"", **{"Content-Range": f"bytes */{len(CONTENT)}"})
            else:
                first = start + (kind == "shifted")
                self.answer(206, CONTENT[start:], **{"Content-Range": f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"})
        else:
            self.answer(200, CONTENT, half=cut)

    def answer(self, code: int, body: bytes, half: bool = False, **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.close_connection = half

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[str]:
    """The address of a running server; `Origin.seen` has its requests."""
    Origin.seen, Origin.elsewhere = [], ""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


FILE = SourceFile(origin="o", source="x", place="weights/x", bytes=len(CONTENT), kind="weights",
                  checksum=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")


def download(url: str, destination: Path, file: SourceFile = FILE, **options) -> str:
    return fetch_files.download(file, url, destination, token=options.pop("token", None), page="the model's page",
                                progress=lambda *_: None, pause_s=0, **options)


def partial(destination: Path) -> Path:
    return destination.with_name(f".{destination.name}.partial")


def test_download_and_check(origin, tmp_path):
    destination = tmp_path / "deep" / "x"
    assert download(f"{origin}/plain/x", destination) == "verified"
    assert destination.read_bytes() == CONTENT
    assert not partial(destination).exists()
    assert [asked for _, asked, _ in Origin.seen] == [None]


def test_a_broken_connection_is_resumed(origin, tmp_path):
    assert download(f"{origin}/cut/x", tmp_path / "x") == "verified"
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert [asked for _, asked, _ in Origin.seen] == [None, f"bytes={len(CONTENT) // 2}-"]


def test_an_earlier_run_is_resumed(origin, tmp_path):
    partial(tmp_path / "x").write_bytes(CONTENT[:1000])
    assert download(f"{origin}/plain/x", tmp_path / "x") == "verified"
    assert [asked for _, asked, _ in Origin.seen] == ["bytes=1000-"]


def test_a_server_without_ranges_starts_again(origin, tmp_path):
    partial(tmp_path / "x").write_bytes(b"y" * 1000)
    assert download(f"{origin}/norange/x", tmp_path / "x") == "verified"
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_complete_partial_needs_no_request(origin, tmp_path):
    partial(tmp_path / "x").write_bytes(CONTENT)
    assert download(f"{origin}/plain/x", tmp_path / "x") == "verified"
    assert Origin.seen == []


def test_a_complete_partial_of_unknown_size(origin, tmp_path):
    partial(tmp_path / "x").write_bytes(CONTENT)
    assert download(f"{origin}/plain/x", tmp_path / "x", replace(FILE, bytes=None)) == "verified"


def test_a_partial_that_is_too_long_starts_again(origin, tmp_path):
    partial(tmp_path / "x").write_bytes(CONTENT + b"more")
    assert download(f"{origin}/plain/x", tmp_path / "x") == "verified"


def test_another_range_than_asked_is_refused(origin, tmp_path):
    partial(tmp_path / "x").write_bytes(CONTENT[:1000])
    with pytest.raises(FetchError, match="asked from 1000"):
        download(f"{origin}/shifted/x", tmp_path / "x")


@pytest.mark.parametrize("change, message", [({"checksum": "sha256:" + "0" * 64}, "has sha256:.*, declared sha256:0000"),
                                             ({"bytes": len(CONTENT) - 1}, "declared 1,048,575")])
def test_wrong_bytes_never_take_the_place(origin, tmp_path, change, message):
    with pytest.raises(FetchError, match=message):
        download(f"{origin}/plain/x", tmp_path / "x", replace(FILE, **change))
    assert list(tmp_path.iterdir()) == [], "neither the file nor something to resume wrongly from"


def test_an_unpublished_checksum_is_said(origin, tmp_path):
    assert download(f"{origin}/plain/x", tmp_path / "x", replace(FILE, checksum="", bytes=None)) == "unverified"


def test_git_blob_checksum(tmp_path):
    (tmp_path / "hello").write_bytes(b"hello\n")
    assert fetch_files.checksum(tmp_path / "hello", "git-blob-sha1") == "git-blob-sha1:ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize("code", ["401", "403"])
def test_a_gate_says_where_to_ask(origin, tmp_path, code):
    with pytest.raises(FetchError, match=f"HTTP {code}: access is gated; accept the terms at the model's page, then set HF_TOKEN"):
        download(f"{origin}/{code}/x", tmp_path / "x")
    assert len(Origin.seen) == 1, "a refusal is not tried again"


def test_not_found_and_overload(origin, tmp_path):
    with pytest.raises(FetchError, match="HTTP 404"):
        download(f"{origin}/404/x", tmp_path / "x")
    with pytest.raises(FetchError, match="failed 5 times, last: HTTP 503"):
        download(f"{origin}/503/x", tmp_path / "x")


def test_the_token_goes_to_its_host_only(origin, tmp_path):
    """Its own host sees it, also after a redirect to itself; a storage host that it redirects to does not."""
    host, other = origin.removeprefix("http://"), origin.replace("127.0.0.1", "localhost")
    Origin.elsewhere = origin
    download(f"{origin}/redirect/x", tmp_path / "a", token="secret", token_host=host)
    assert [sent for _, _, sent in Origin.seen] == ["Bearer secret", "Bearer secret"]
    Origin.seen.clear()
    Origin.elsewhere = other
    download(f"{origin}/redirect/x", tmp_path / "b", token="secret", token_host=host)
    assert [sent for _, _, sent in Origin.seen] == ["Bearer secret", None]
    Origin.seen.clear()
    download(f"{origin}/plain/x", tmp_path / "c", token="secret")
    assert [sent for _, _, sent in Origin.seen] == [None], "the default host is huggingface.co"


def test_no_token_over_plain_http():
    assert fetch_files._may_see_token("https://huggingface.co/a/resolve/b", "huggingface.co")
    for url in ("http://huggingface.co/a", "https://huggingface.co.example.com/a", "https://cdn.huggingface.co/a", "https://huggingface.co:8443/a"):
        assert not fetch_files._may_see_token(url, "huggingface.co"), url


def cli(*arguments: str, data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ROOT / "scripts" / "fetch"), "sdxl", *arguments], capture_output=True, text=True, check=False,
                          env=os.environ | {"IREEPERF_DATA": str(data), "HF_TOKEN": "secret"} | environment)


def test_everything_missing_is_one_list(tmp_path):
    (tmp_path / "empty").mkdir()
    result = cli("--from", str(tmp_path / "empty"), "--only", "weights", data=tmp_path / "data")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert result.stderr.startswith("error: 3 of 3 files of sdxl are missing:")
    for name, checksum in (("ViT-B-32.pt", "sha256:40d36571"), ("val2014.npz", "git-blob-sha1:806479d0"),
                           ("pt_inception-2015-12-05-6726825d.pth", "sha256:6726825d")):
        assert name in result.stderr and checksum in result.stderr
    assert "secret" not in result.stdout + result.stderr


def test_a_wrong_file_in_the_folder_is_refused(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "captions_source.tsv").write_text("other")
    result = cli("--from", str(tmp_path / "from"), "--only", "captions", data=tmp_path / "data")
    assert result.returncode == 2 and "5 bytes, declared 862,324" in result.stderr
    assert not list((tmp_path / "data").rglob("*.*")), "nothing half-written"


def test_list_and_bad_folder(tmp_path):
    listed = cli("--list", "--dtype", "float32", data=tmp_path)
    assert listed.returncode == 0 and "10,270,077,736 bytes" in listed.stdout and "fp16" not in listed.stdout
    refused = cli("--from", str(tmp_path / "absent"), data=tmp_path)
    assert (refused.returncode, refused.stderr) == (2, f"error: --from {tmp_path / 'absent'} is not a folder\n")


def test_a_whole_set_from_a_folder_and_again(tmp_path):
    """With a list of its own: the real files are gigabytes. The second run finds everything and checks it."""
    folder = tmp_path / "checkout"
    for name in ("scripts/fetch", "scripts/fetch_files.py", "ireeperf/__init__.py", "ireeperf/document.py", "ireeperf/errors.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    files = [f'[[files]]\norigin = "o"\nsource = "{name}"\nplace = "{place}"\nchecksum = "{checksum}"\nkind = "weights"\n'
             for name, place, checksum in (("a.bin", "weights/a.bin", FILE.checksum), ("b.bin", "weights/b.bin", ""))]
    (folder / "scripts" / "fetch_tiny.toml").write_text(
        'schema_version = 1\nmodel = "tiny"\ncheckpoint = "checkpoint"\nweights = "weights"\ncaptions = "c.tsv"\n'
        '[origins.o]\nurl = "https://example.invalid/"\npage = "p"\nlicence = "MIT"\n' + "".join(files))
    (tmp_path / "from").mkdir()
    for name in ("a.bin", "b.bin"):
        (tmp_path / "from" / name).write_bytes(CONTENT)
    for _ in range(2):
        result = subprocess.run([sys.executable, str(folder / "scripts/fetch"), "tiny", "--from", str(tmp_path / "from")], capture_output=True,
                                text=True, check=False, env=os.environ | {"IREEPERF_DATA": str(tmp_path / "data")})
        assert result.returncode == 0, result.stderr
        summary = json.loads(result.stdout.splitlines()[-1])
        assert (summary["files"], summary["unverified"]) == (2, ["weights/b.bin"])
        assert (tmp_path / "data/tiny/weights/a.bin").read_bytes() == CONTENT
    (tmp_path / "data/tiny/weights/a.bin").write_bytes(b"changed")
    result = subprocess.run([sys.executable, str(folder / "scripts/fetch"), "tiny", "--from", str(tmp_path / "from")], capture_output=True,
                            text=True, check=False, env=os.environ | {"IREEPERF_DATA": str(tmp_path / "data")})
    assert result.returncode == 2 and "not the declared file; move it away" in result.stderr
    assert (tmp_path / "data/tiny/weights/a.bin").read_bytes() == b"changed", "a user's file is not overwritten"


def test_an_http_mirror(origin, tmp_path):
    result = cli("--from", f"{origin}/404", "--only", "captions", data=tmp_path / "data")
    assert result.returncode == 2 and "HTTP 404" in result.stderr
    assert Origin.seen == [("/404/captions_source.tsv", None, None)], "a mirror never sees the token"


def test_a_disk_too_small(tmp_path, monkeypatch):
    loader = importlib.machinery.SourceFileLoader("fetch_script", str(ROOT / "scripts" / "fetch"))
    monkeypatch.setattr(sys, "path", list(sys.path))  # the script puts the checkout in front
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("fetch_script", loader))
    loader.exec_module(module)
    huge = replace(FILE, bytes=10**18)
    with pytest.raises(ConfigError, match=r"needs 1000000000.0 GB more .* free the disk or set IREEPERF_DATA"):
        module.check_disk([huge], tmp_path / "data" / "sdxl")


def test_the_declared_list():
    """Every file has an origin, a checksum of the right shape, and a place below its kind's folder."""
    lengths = {"sha256": 64, "git-blob-sha1": 40}
    for file in DECLARED.files:
        assert file.origin in DECLARED.origins
        kind, _, digits = file.checksum.partition(":")
        assert len(digits) == lengths[kind] and set(digits) <= set("0123456789abcdef"), file.place
        assert file.place.startswith({"checkpoint": "checkpoint/", "weights": "weights/", "captions": "captions"}[file.kind])
    assert len({file.place for file in DECLARED.files}) == len(DECLARED.files)
    for dtype in ("float16", "float32"):
        folders = {file.place.split("/")[1] for file in DECLARED.files if file.dtype == dtype}
        assert folders == {"text_encoder", "text_encoder_2", "unet", "vae"}


def test_the_list_agrees_with_the_scorer():
    """eval/scorers/sdxl-base-1.0.json asks for the files under the same names and checksums."""
    scorer = json.loads((ROOT / "eval" / "scorers" / "sdxl-base-1.0.json").read_text())
    brought = {Path(file.place).name: file.checksum for file in DECLARED.files if file.kind == "weights"}
    for entry in scorer["files"].values():
        assert brought[entry["path"]].startswith(entry["checksum"]), entry["path"]


def test_the_list_agrees_with_the_exporter():
    """The FP16 files are those that export/checkpoint_files.py looks for."""
    from export.checkpoint_files import WEIGHTS

    places = {file.place for file in DECLARED.files}
    for component, stem in WEIGHTS.items():
        assert {f"checkpoint/{component}/{stem}.fp16.safetensors", f"checkpoint/{component}/{stem}.safetensors",
                f"checkpoint/{component}/config.json"} <= places
    assert "checkpoint/scheduler/scheduler_config.json" in places
