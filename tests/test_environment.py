"""The three places that name versions agree."""

from __future__ import annotations

import re
import tomllib

import yaml
from conftest import ROOT
from packaging.requirements import Requirement

CONDA_NAMES = {"pytorch": "torch"}
CONDA_ONLY = {"python", "pip", "tomopy"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, version in pairs}


def test_torch_comes_first_in_the_lock_and_is_pinned() -> None:
    assert next(iter(locked().items())) == ("torch", "2.13.0")


def test_every_requirement_of_the_package_is_in_the_lock_at_a_version_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    lock = locked()
    for text in wanted:
        requirement = Requirement(text)
        version = lock.get(canonical(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements.lock"
        assert requirement.specifier.contains(version), (
            f"the lock has {requirement.name} {version}, not {text}"
        )


def test_the_conda_environment_has_the_versions_of_the_lock_and_tomopy() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert any(entry.startswith("tomopy") for entry in conda)
    lock = locked()
    for entry in conda + pip:
        name, version = re.fullmatch(r"([\w.-]+?)(?:[=<>]=?(.*))?", entry).groups()
        name = canonical(CONDA_NAMES.get(name, name))
        if name not in CONDA_ONLY:
            assert lock.get(name) == version, f"environment.yml has {entry}, the lock {lock.get(name)}"


def test_the_conda_environment_names_all_that_the_package_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "environment.yml").read_text(encoding="utf-8").lower().replace("pytorch", "torch")
    extras = project["optional-dependencies"]
    for requirement in project["dependencies"] + extras["book"] + extras["dev"] + extras["cluster"]:
        name = canonical(Requirement(requirement).name)
        assert re.search(rf"- {re.escape(name)}[=<>\s]", text), f"environment.yml lacks {name}"


def test_a_wheel_carries_every_package_the_registry_and_the_claims() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
        "packages"
    ]
    found = {
        ".".join(init.parent.relative_to(ROOT).parts) for init in ROOT.glob("lowdose_utils/**/__init__.py")
    }
    assert set(listed) == found | {"lowdose_utils._registry", "lowdose_utils._book"}
