"""Check names, places and sizes of a submission tree's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness import submission_limits as limits
from harness.submission_finding import Finding

ROOT_SUFFIXES = (".md", ".pdf")
IGNORED = (".git", ".github", "assets")  # folders beside the divisions, as the official checker has it


def check_root(tree: Path) -> Iterator[Finding]:
    """What lies beside the divisions and beside the submitters."""
    for path in sorted(tree.iterdir()):
        if path.is_file() and path.suffix not in ROOT_SUFFIXES:
            yield Finding(code="stray_file", file=path.name, found="a file outside the divisions",
                          wanted="only .md and .pdf there")
        elif path.is_dir() and path.name not in (*limits.DIVISIONS, *IGNORED):
            yield Finding(code="division", file=path.name, found="a folder outside the divisions",
                          wanted=f"one of {', '.join(limits.DIVISIONS)} (network is not supported)")
        elif path.is_dir() and path.name in limits.DIVISIONS:
            for inner in sorted(path.iterdir()):
                if inner.is_file():
                    yield Finding(code="stray_file", file=f"{path.name}/{inner.name}",
                                  found="a file outside the submitters' folders",
                                  wanted="none")


def check_names(tree: Path, submitter: Path) -> Iterator[Finding]:
    """Every file and folder below a submitter."""
    for path in sorted(submitter.rglob("*")):
        where = str(path.relative_to(tree))
        if path.is_symlink():
            yield Finding(code="link", file=where, found=f"a link to {path.readlink()}",
                          wanted="a file: links break when the tree is copied")
            continue
        if path.name.startswith("."):
            yield Finding(code="name", file=where, found="a name that starts with '.'", wanted="names that git shows")
        if " " in path.name:
            yield Finding(code="name", file=where, found="a space in the name", wanted="none")
        if path.name == "__pycache__":
            yield Finding(code="name", file=where, found="Python's cache", wanted="none")
        if path.is_dir() and not any(path.iterdir()):
            yield Finding(code="empty_folder", file=where, found="an empty folder", wanted="none: git would drop it")
        if path.is_file() and (size := path.stat().st_size) > limits.FILE_BYTES:
            yield Finding(code="size", file=where, found=f"{size} bytes", wanted=f"at most {limits.FILE_BYTES}")


def check_systems(tree: Path, submitter: Path) -> Iterator[Finding]:
    """systems/, measurements/ and results/ name the same systems."""
    place = submitter.relative_to(tree)
    results = {path.name for path in folders(submitter / "results")}
    described = {path.stem for path in (submitter / "systems").glob("*.json")}
    for system in sorted({path.name for path in folders(submitter / "measurements")} - results):
        yield Finding(code="no_results", file=f"{place}/measurements/{system}", found="measurements without results",
                      wanted="none")
    for system in sorted(described - results):
        yield Finding(code="no_results", file=f"{place}/systems/{system}.json", found="a system without results",
                      wanted="none")
    for system in sorted(results - described):
        yield Finding(code="system", file=f"{place}/systems/{system}.json", found="absent",
                      wanted="the system's description")
    if not results:
        yield Finding(code="no_results", file=f"{place}/results", found="no results", wanted="a folder for each system")


def check_list(where: str, folder: Path, wanted: set[str], optional: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """The files of `folder` are `wanted`, no more and no less."""
    found = {path.name for path in folder.iterdir() if path.is_file()} if folder.is_dir() else set()
    for name in sorted(wanted - found):
        yield Finding(code="missing", file=f"{where}/{name}", found="absent", wanted="a file")
    for name in sorted(found - wanted - optional):
        yield Finding(code="stray_file", file=f"{where}/{name}", found="a file that has no place here",
                      wanted=f"{', '.join(sorted(wanted))}")


def check_folders(where: str, folder: Path, wanted: set[str]) -> Iterator[Finding]:
    """The folders in `folder` are `wanted`."""
    found = {path.name for path in folders(folder)}
    for name in sorted(wanted - found):
        yield Finding(code="missing", file=f"{where}/{name}", found="absent", wanted="a folder")
    for name in sorted(found - wanted):
        yield Finding(code="stray_file", file=f"{where}/{name}", found="a folder that has no place here",
                      wanted=f"{', '.join(sorted(wanted))}")


def folders(folder: Path) -> list[Path]:
    """Folders directly below; empty when `folder` does not exist."""
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
