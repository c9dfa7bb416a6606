"""Stubs of other languages: what is missing is said, the rest goes on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from deploy import stubs
from deploy.stubs import LANGUAGES, Language, generate, main

PROTOC = (sys.executable, "-m", "grpc_tools.protoc")


def test_languages_without_tools_are_passed_over_and_it_is_said_what_is_missing(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([]) == 0
    told = capsys.readouterr().err
    for name in LANGUAGES:
        assert f"{name}: skipped, there is no " in told
    assert "protoc-gen-go-grpc (apt-get install protoc-gen-go-grpc)" in told
    assert not list(tmp_path.iterdir())


def test_a_language_that_was_asked_for_must_come_out(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["java"]) == 1
    assert "java: skipped" in capsys.readouterr().err


def test_an_unknown_language_is_refused_by_name(capsys):
    with pytest.raises(SystemExit) as refused:
        main(["java", "cobol"])
    assert refused.value.code == 2
    assert "cobol: none of typescript, go, java" in capsys.readouterr().err


def test_generated_files_that_have_not_changed_are_not_touched(tmp_path):
    language = Language(tmp_path / "stubs", {}, ("--python_out={out}",), PROTOC)
    assert generate(language) == ""
    made = {path.relative_to(language.folder): path for path in language.folder.rglob("*.py")}
    kept, changed = made[Path("etalage/v1/images_pb2.py")], made[Path("etalage/v1/models_pb2.py")]
    os.utime(kept, (1, 1))
    changed.write_text("old")
    stale = kept.with_name("gone_pb2.py")
    stale.touch()
    assert generate(language) == ""
    assert kept.stat().st_mtime == 1
    assert changed.read_text("utf-8") != "old"
    assert not stale.exists()


def test_a_proto_that_can_not_be_read_is_told_and_changes_nothing(monkeypatch, tmp_path):
    protos, folder = tmp_path / "protos", tmp_path / "stubs"
    protos.mkdir()
    (protos / "broken.proto").write_text("message {")
    monkeypatch.setattr(stubs, "PROTOS", protos)
    fault = generate(Language(folder, {}, ("--python_out={out}",), PROTOC))
    assert "broken.proto:1" in fault
    assert not folder.exists()
