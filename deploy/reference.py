"""Writes docs/api.md from the comments of protos/: `python -m deploy.reference`.

`--check` writes nothing, and fails where the page is not what the protos say.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

PROTOS = Path("protos")
PAGE = Path("docs/api.md")
PREFACE = """# API

Written by `make reference` from the comments in `protos/etalage/v1`. Fields that say *optional*
tell zero from absence; of those that say *one of* the same word, one is set at most.
"""

Where = tuple[int, ...]
"""Path of an element in its file, as google.protobuf.SourceCodeInfo has it."""

_PACKAGE, _MESSAGE, _ENUM, _SERVICE = 2, 4, 5, 6  # fields of FileDescriptorProto
_FIELD, _NESTED, _NESTED_ENUM = 2, 3, 4  # of DescriptorProto
_VALUE, _METHOD = 2, 2  # of EnumDescriptorProto, of ServiceDescriptorProto


def main(arguments: Sequence[str] = sys.argv[1:]) -> int:
    page = write_page(read_protos(PROTOS))
    if "--check" not in arguments:
        PAGE.write_text(page, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page:
        print(f"stale: {PAGE} (run make reference)", file=sys.stderr)
        return 1
    return 0


def read_protos(folder: Path) -> FileDescriptorSet:
    """All of the folder, with their comments. Raises CalledProcessError."""
    with tempfile.NamedTemporaryFile() as file:
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}"]
        command += ["--include_source_info", f"--descriptor_set_out={file.name}"]
        subprocess.run([*command, *map(str, sorted(folder.rglob("*.proto")))], check=True)
        return FileDescriptorSet.FromString(Path(file.name).read_bytes())


def write_page(protos: FileDescriptorSet) -> str:
    files = sorted(protos.file, key=lambda file: file.name)
    sections = [section for file in files for section in Chapter(file).write()]
    return "\n".join([PREFACE, *sections]).rstrip() + "\n"


class Chapter:
    """What one file says."""

    def __init__(self, file: FileDescriptorProto) -> None:
        self._file = file
        self._comments: Mapping[Where, str] = {
            tuple(each.path): each.leading_comments for each in file.source_code_info.location
        }

    def write(self) -> Iterator[str]:
        """Paragraphs and tables, each with a line break at its end."""
        yield f"## {Path(self._file.name).name}\n\n{self._tell((_PACKAGE,))}\n"
        for number, service in enumerate(self._file.service):
            yield from self._write_service(service, (_SERVICE, number))
        for number, message in enumerate(self._file.message_type):
            yield from self._write_message(message, (_MESSAGE, number), "")
        for number, enum in enumerate(self._file.enum_type):
            yield self._write_enum(enum, (_ENUM, number), "")

    def _write_service(self, service: ServiceDescriptorProto, where: Where) -> Iterator[str]:
        yield f"### {service.name}\n\n{self._tell(where)}\n"
        for number, method in enumerate(service.method):
            takes, gives = _link(method.input_type), _link(method.output_type)
            takes = f"stream of {takes}" if method.client_streaming else takes
            gives = f"stream of {gives}" if method.server_streaming else gives
            text = self._tell((*where, _METHOD, number))
            yield f"**{method.name}**: {takes} → {gives}\n\n{text}\n"

    def _write_message(self, message: DescriptorProto, where: Where, owner: str) -> Iterator[str]:
        name = f"{owner}{message.name}"
        entries = {each.name: each for each in message.nested_type if each.options.map_entry}
        rows = [
            (
                f"{field.name} = {field.number}",
                _say_type(field, message, entries),
                self._tell((*where, _FIELD, number)),
            )
            for number, field in enumerate(message.field)
        ]
        table = _tabulate(("field", "type", "what it says"), rows) if rows else ""
        yield f"### {name}\n\n{self._tell(where)}\n{table}"
        for number, nested in enumerate(message.nested_type):
            if nested.name not in entries:
                yield from self._write_message(nested, (*where, _NESTED, number), f"{name}.")
        for number, enum in enumerate(message.enum_type):
            yield self._write_enum(enum, (*where, _NESTED_ENUM, number), f"{name}.")

    def _write_enum(self, enum: EnumDescriptorProto, where: Where, owner: str) -> str:
        rows = [
            (f"{value.name} = {value.number}", self._tell((*where, _VALUE, number)))
            for number, value in enumerate(enum.value)
        ]
        table = _tabulate(("value", "what it says"), rows)
        return f"### {owner}{enum.name}\n\n{self._tell(where)}\n{table}"

    def _tell(self, where: Where) -> str:
        """The comment as it stands in the file, without the blank at the start of its lines."""
        lines = self._comments.get(where, "").splitlines()
        return "\n".join(line.removeprefix(" ") for line in lines)


def _say_type(
    field: FieldDescriptorProto, message: DescriptorProto, entries: Mapping[str, DescriptorProto]
) -> str:
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = map(_name_type, entry.field)
        return f"map of {key} to {value}"
    told = _name_type(field)
    if field.label == field.LABEL_REPEATED:
        return f"repeated {told}"
    if field.proto3_optional:
        return f"optional {told}"
    if field.HasField("oneof_index"):
        return f"{told}, one of *{message.oneof_decl[field.oneof_index].name}*"
    return told


def _name_type(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _link(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _link(type_name: str) -> str:
    """To the section of one of ours; the bare name of a stranger."""
    name = type_name.removeprefix(".")
    if not name.startswith("etalage.v1."):
        return name
    name = name.removeprefix("etalage.v1.")
    return f"[{name}](#{name.replace('.', '').lower()})"


def _tabulate(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
