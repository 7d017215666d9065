"""Licence, citation, changelog and the package's metadata."""

import re
import subprocess
import tomllib
from datetime import date

import yaml

from tests.support.paths import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_the_licence_is_the_whole_of_apache_2() -> None:
    text = _text("LICENSE")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "the kd-sweeps authors" in text
    assert "[yyyy]" not in text
    assert [int(number) for number in re.findall(r"^   (\d)\. ", text, flags=re.MULTILINE)] == list(range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_classifiers_name_each_python_that_is_supported() -> None:
    minors = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", line)}
    low, high = re.findall(r"3\.(\d+)", PROJECT["requires-python"])
    assert minors == {f"3.{minor}" for minor in range(int(low), int(high))}


def test_the_citation_is_valid_for_this_version() -> None:
    citation = yaml.safe_load(_text("CITATION.cff"))
    # What the schema of 1.2.0 requires: https://github.com/citation-file-format/citation-file-format
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title"} < set(citation)
    assert (citation["authors"], citation["license"]) == (PROJECT["authors"], PROJECT["license"])
    assert str(citation["version"]) == PROJECT["version"]


def test_the_changelog_is_well_formed_and_has_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", _text("CHANGELOG.md"), flags=re.MULTILINE)
    assert headings[0] == ("Unreleased", "")
    assert PROJECT["version"] in {name for name, _ in headings}
    assert all(date.fromisoformat(day) for _, day in headings if day)
    kinds = set(re.findall(r"^### (.+)$", _text("CHANGELOG.md"), flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_pre_commit_runs_the_make_targets_and_installs_nothing() -> None:
    (repository,) = yaml.safe_load(_text(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), flags=re.MULTILINE))
    for hook in repository["hooks"]:
        make, target = hook["entry"].split()
        assert (make, hook["language"], hook["pass_filenames"]) == ("make", "system", False)
        assert target in targets


def test_the_targets_that_pages_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", _text("Makefile"), flags=re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", _text(page), flags=re.MULTILINE))
        assert named - targets == set(), page


def test_no_generated_file_of_the_docs_is_kept() -> None:
    listing = subprocess.run(["git", "ls-files", "docs"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert not [name for name in listing.stdout.splitlines() if "_build" in name or name.endswith((".html", ".pyc"))]
