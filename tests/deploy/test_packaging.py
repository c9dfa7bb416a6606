"""What can be installed: one version for both packages, and extras that import."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from deploy.hashes import OURS, PROJECTS

PROJECT: dict[str, Any] = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
TOOLS = {"dev"}
"""Extras of which not all can be imported."""
MODULES = {
    "mkdocs-material": "material",
    "openfeature-sdk": "openfeature",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry-sdk": "opentelemetry.sdk",
}
"""Where a module is not called as its distribution is."""


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - TOOLS))
def test_an_extra_can_be_imported(extra):
    requirements = find_requirements(extra)
    missing = [each.name for each in requirements if not is_installed(each)]
    if missing:
        pytest.skip(f"{', '.join(missing)} of [{extra}] is not installed")
    modules = [MODULES.get(each.name, each.name.replace("-", "_")) for each in requirements]
    script = "\n".join(f"import {module}" for module in modules)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def find_requirements(extra: str) -> list[Requirement]:
    """Of other packages than ours, whose further extras are tested by themselves."""
    found = []
    for requirement in map(Requirement, EXTRAS[extra]):
        if requirement.name in OURS:
            assert requirement.extras <= EXTRAS.keys()
        else:
            found.append(requirement)
    return found


def is_installed(requirement: Requirement) -> bool:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    assert requirement.specifier.contains(version, prereleases=True)
    return True


def test_the_version_stands_in_one_place():
    places = set()
    for path in PROJECTS:
        told = tomllib.loads(path.read_text("utf-8"))
        assert "version" not in told["project"]
        places.add(path.parent / told["tool"]["setuptools"]["dynamic"]["version"]["file"])
    (place,) = places
    version = place.read_text("utf-8").strip()
    assert f"\n## {version}" in Path("CHANGELOG.md").read_text("utf-8")
    for package in OURS:
        assert importlib.metadata.version(package) == version
