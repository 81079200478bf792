"""Every change to the accepted fixture is found by our check, with the right reason; many are not found by MLCommons' checker."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import submission_check, submission_official
from tests import closed_fixture, mlcommons
from tests.submission_mutations import CAUGHT, ESCAPES, MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_our_check_names_it(mutation: Mutation, tmp_path: Path) -> None:
    tree = closed_fixture.copy(tmp_path)
    mutation.change(tree)
    findings = submission_check.check(tree, rehearsal=True)
    assert mutation.code in {finding.code for finding in findings}, [str(finding) for finding in findings]


def official(mutation: Mutation, folder: Path) -> bool:
    """Whether MLCommons' checker accepts the changed tree."""
    assert mlcommons.FILES is not None
    tree = closed_fixture.copy(folder)
    mutation.change(tree)
    return submission_official.run(mlcommons.FILES, tree).accepted


@mlcommons.needed
@pytest.mark.parametrize("mutation", ESCAPES, ids=lambda mutation: mutation.name)
def test_mlcommons_checker_accepts_it(mutation: Mutation, tmp_path: Path) -> None:
    assert official(mutation, tmp_path)


@mlcommons.needed
@pytest.mark.slow
@pytest.mark.parametrize("mutation", CAUGHT, ids=lambda mutation: mutation.name)
def test_mlcommons_checker_refuses_it(mutation: Mutation, tmp_path: Path) -> None:
    assert not official(mutation, tmp_path)


def test_the_table_in_the_document_is_this_one() -> None:
    content = (Path(__file__).resolve().parents[1] / "docs/SUBMISSION.md").read_text()
    rows = [line for line in content.splitlines() if line.startswith("| ") and line.endswith("` |") and "python -m" not in line]
    assert rows == [f"| {mutation.name} | `{mutation.code}` |" for mutation in ESCAPES]
    assert f"Another {len(CAUGHT)} are found by both: {'; '.join(mutation.name for mutation in CAUGHT)}." in " ".join(content.split())


def test_there_are_enough() -> None:
    assert len(MUTATIONS) >= 30 and len(ESCAPES) >= 6 and len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
