"""The locks of the environment and of the image: exact, hashed, from no particular registry, and consistent.

That of the environment is for Linux and macOS alike.
"""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import REPOSITORY

LOCK = (REPOSITORY / "requirements.lock").read_text()
OF_THE_IMAGE = (REPOSITORY / "deploy" / "image" / "requirements.lock").read_text()
LOCKS = pytest.mark.parametrize("lock", [LOCK, OF_THE_IMAGE], ids=["environment", "image"])
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())

# Supported platforms: `sys_platform` and `platform_machine`.
PLATFORMS = [("linux", "Linux", "x86_64"), ("linux", "Linux", "aarch64"), ("darwin", "Darwin", "arm64")]


def _locked(lock: str = LOCK) -> dict[str, list[tuple[Requirement, int]]]:
    """Return each requirement of a lock by name, with its number of hashes."""
    locked: dict[str, list[tuple[Requirement, int]]] = {}
    for line in lock.replace("\\\n", " ").splitlines():
        requirement = Requirement(re.split(r"\s--hash=", line, maxsplit=1)[0].strip())
        locked.setdefault(canonicalize_name(requirement.name), []).append((requirement, line.count("--hash=sha256:")))
    return locked


def _wanted() -> list[str]:
    """Return all requirements of pyproject.toml, including those of the build, which is not isolated."""
    return [
        *PROJECT["project"]["dependencies"],
        *_of_extras("all"),
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    ]


def _of_extras(*names: str) -> list[str]:
    """Return the requirements of extras, and of the extras that they include."""
    texts: list[str] = []
    for text in (text for name in names for text in PROJECT["project"]["optional-dependencies"][name]):
        requirement = Requirement(text)
        texts += _of_extras(*sorted(requirement.extras)) if requirement.name == PROJECT["project"]["name"] else [text]
    return texts


@LOCKS
def test_a_lock_names_no_registry(lock: str) -> None:
    assert not re.search(r"https?://|--(extra-)?index|--find-links|--trusted-host|file:", lock)


@LOCKS
def test_every_line_of_a_lock_is_one_version_with_a_hash(lock: str) -> None:
    for lines in _locked(lock).values():
        for requirement, hashes in lines:
            assert [specifier.operator for specifier in requirement.specifier] == ["=="], requirement
            assert hashes >= 1, requirement
            assert requirement.url is None


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("platform", PLATFORMS, ids="-".join)
def test_every_dependency_is_pinned_in_its_range_on_every_platform(platform: tuple[str, str, str], python: str) -> None:
    system, name, machine = platform
    environment = {"sys_platform": system, "platform_system": name, "platform_machine": machine}
    environment |= {"python_version": python, "python_full_version": f"{python}.9"}
    locked = _locked()
    for requirement in map(Requirement, _wanted()):
        lines = [line for line, _ in locked.get(canonicalize_name(requirement.name), [])]
        pins = [line for line in lines if line.marker is None or line.marker.evaluate(environment)]
        assert len(pins) == 1, f"{requirement}: {len(pins)} lines of the lock apply; type: make lock"
        (specifier,) = pins[0].specifier
        assert requirement.specifier.contains(specifier.version), (
            f"{requirement}, but {pins[0]} is locked; type: make lock"
        )


def test_the_image_has_the_tested_versions_and_no_test_tools() -> None:
    texts = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"]]
    texts += _of_extras("train", "report", "keras", "autokeras", "server", "weights", "npm")
    locked, whole = _locked(OF_THE_IMAGE), _locked()
    names = {canonicalize_name(Requirement(text).name) for text in texts}
    assert names <= set(locked), "type: make lock"
    for name in set(locked) & set(whole):
        assert {str(line.specifier) for line, _ in locked[name]} == {str(line.specifier) for line, _ in whole[name]}, (
            name
        )
    tools = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependency-groups"]["dev"]}
    assert not tools & set(locked)


def test_all_is_every_extra_for_users() -> None:
    extras = set(PROJECT["project"]["optional-dependencies"])
    (whole,) = PROJECT["project"]["optional-dependencies"]["all"]
    assert Requirement(whole).extras == extras - {"all", "gpu", "mlflow", "npm", "wandb"}
