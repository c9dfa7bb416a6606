"""Generates the stubs of other languages than Python: `python -m deploy.stubs typescript java`.

Without names all of them: a language whose tools are missing is passed over, and it is said what
is missing. One that was named must come out.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROTOS = Path("protos")
PROTOC_ES = "clients/typescript/node_modules/.bin/protoc-gen-es"
GO_MODULE = "github.com/etalage/etalage/clients/go"


@dataclass(frozen=True, slots=True)
class Language:
    """`folder` is all generated; `tools` are commands, and how to get each. `arguments` are those
    of protoc, with {out} for where to write."""

    folder: Path
    tools: Mapping[str, str]
    arguments: tuple[str, ...]
    protoc: tuple[str, ...] = ("protoc",)
    """Of the release whose runtime the stubs meet: the system's own."""


PROTOC = {"protoc": "apt-get install protobuf-compiler libprotobuf-dev"}

LANGUAGES: Mapping[str, Language] = {
    "typescript": Language(
        Path("clients/typescript/src/generated"),
        {"node": "apt-get install nodejs", PROTOC_ES: "npm ci --prefix clients/typescript"},
        (f"--plugin={PROTOC_ES}", "--es_out={out}", "--es_opt=target=ts,import_extension=js"),
        protoc=(sys.executable, "-m", "grpc_tools.protoc"),
    ),
    "go": Language(
        Path("clients/go/etalage"),
        PROTOC
        | {
            "protoc-gen-go": "apt-get install protoc-gen-go-1-5",
            "protoc-gen-go-grpc": "apt-get install protoc-gen-go-grpc",
        },
        (
            *("--go_out={out}", f"--go_opt=module={GO_MODULE}/etalage"),
            *("--go-grpc_out={out}", f"--go-grpc_opt=module={GO_MODULE}/etalage"),
        ),
    ),
    "java": Language(
        Path("clients/java/src/generated/java"),
        PROTOC | {"grpc_java_plugin": "apt-get install protobuf-compiler-grpc-java-plugin"},
        ("--java_out={out}", "--plugin=protoc-gen-grpc={grpc_java_plugin}", "--grpc_out={out}"),
    ),
    "cpp": Language(
        Path("clients/cpp/generated"),
        PROTOC | {"grpc_cpp_plugin": "apt-get install protobuf-compiler-grpc"},
        ("--cpp_out={out}", "--plugin=protoc-gen-grpc={grpc_cpp_plugin}", "--grpc_out={out}"),
    ),
    "csharp": Language(
        Path("clients/csharp/Generated"),
        PROTOC,
        ("--csharp_out={out}",),  # services are made by Grpc.Tools, in a build with .NET
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.stubs")
    parser.add_argument("languages", nargs="*", metavar="LANGUAGE", help=", ".join(LANGUAGES))
    wanted: list[str] = parser.parse_args(arguments).languages
    if unknown := [name for name in wanted if name not in LANGUAGES]:
        parser.error(f"{', '.join(unknown)}: none of {', '.join(LANGUAGES)}")
    failed = False
    for name in wanted or LANGUAGES:
        language = LANGUAGES[name]
        if missing := find_missing(language):
            wording = "; ".join(f"{tool} ({remedy})" for tool, remedy in missing.items())
            print(f"{name}: skipped, there is no {wording}", file=sys.stderr)
            failed |= bool(wanted)
        elif fault := generate(language):
            print(f"{name}: failed\n{fault}", file=sys.stderr)
            failed = True
        else:
            print(f"{name}: {language.folder}")
    return int(failed)


def find_missing(language: Language) -> dict[str, str]:
    """Tools that are not there, and how to get them."""
    return {tool: remedy for tool, remedy in language.tools.items() if not shutil.which(tool)}


def generate(language: Language) -> str:
    """What went wrong, empty where nothing did; then the stubs are as they were."""
    paths = {tool: shutil.which(tool) for tool in language.tools}
    with tempfile.TemporaryDirectory() as fresh:
        filled = [each.format(out=fresh, **paths) for each in language.arguments]
        sources = map(str, sorted(PROTOS.rglob("*.proto")))
        command = [*language.protoc, f"-I{PROTOS}", *filled, *sources]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            exchange(Path(fresh), language.folder)
    return done.stderr.strip() or str(done.returncode) if done.returncode else ""


def exchange(fresh: Path, folder: Path) -> None:
    """What has not changed stays as it is, so that nothing is built anew for it."""
    names = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    for path in list(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder) not in names:
            path.unlink()
    for name in names:
        old, new = folder / name, fresh / name
        if not old.exists() or old.read_bytes() != new.read_bytes():
            old.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(new, old)


if __name__ == "__main__":
    sys.exit(main())
