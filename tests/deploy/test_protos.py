"""Breaking changes are found, and the reference says what the protos say."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import reference

BUF = str(Path(sys.executable).with_name("buf"))
RELEASED = str(Path("protos/released.binpb").resolve())

Change = Callable[[str], str]


def find_breaks(tmp_path: Path, change: Change) -> str:
    """What `make check` would say of images.proto after a change; empty for nothing."""
    shutil.copy("buf.yaml", tmp_path)
    shutil.copytree("protos", tmp_path / "protos")
    images = tmp_path / "protos/etalage/v1/images.proto"
    old = images.read_text("utf-8")
    images.write_text(change(old), "utf-8")
    command = [BUF, "breaking", "--against", RELEASED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode in (0, 100), done.stderr
    return done.stdout


def replace(old: str, new: str) -> Change:
    def change(text: str) -> str:
        assert text.count(old) == 1
        return text.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replace("  bool reuse_predictions = 17;\n", ""), '"17"'),
        (replace("string style = 18;", "bytes style = 18;"), 'from "string" to "bytes"'),
        (replace("string style = 18;", "string manner = 18;"), '"style" to "manner"'),
        (replace("  MODE_CREATE = 3;\n", ""), '"3"'),
        (replace("(stream GenerateSlateResponse)", "(GenerateSlateResponse)"), "streaming"),
    ],
    ids=["field removed", "type changed", "field renamed", "value removed", "stream ended"],
)
def test_a_breaking_change_is_found(tmp_path, change, told):
    assert told in find_breaks(tmp_path, change)


def test_what_is_only_added_breaks_nothing(tmp_path):
    assert not find_breaks(
        tmp_path,
        lambda text: (
            text.replace("  MODE_CREATE = 3;", "  MODE_CREATE = 3;\n  MODE_NEW = 4;")
            .replace("  string style = 18;", "  string style = 18;\n  string manner = 1000;")
            .replace("message Try {", "message New {}\n\nmessage Try {")
        ),
    )


def test_the_reference_has_every_service_message_and_comment_of_the_protos(tmp_path):
    (tmp_path / "shop.proto").write_text(
        """syntax = "proto3";
// A shop.
package etalage.v1;
import "google/protobuf/duration.proto";
// Answers.
service ShopService {
  // Opens it.
  rpc Open(stream OpenRequest) returns (OpenResponse);
}
// How to open.
message OpenRequest {
  // By whom, a | b.
  // At most one.
  optional string by = 1;
  oneof door {
    // In front.
    Door front = 2;
    bool back = 3;
  }
  // For how long.
  map<string, google.protobuf.Duration> hours = 4;
  // A door.
  message Door {
    repeated Colour colours = 1;
    // Of doors.
    enum Colour {
      // None.
      COLOUR_UNSPECIFIED = 0;
    }
  }
}
message OpenResponse {}
"""
    )
    page = reference.write_page(reference.read_protos(tmp_path))
    assert page.startswith(reference.PREFACE)
    assert page.removeprefix(reference.PREFACE + "\n") == (
        """## shop.proto

A shop.

### ShopService

Answers.

**Open**: stream of [OpenRequest](#openrequest) → [OpenResponse](#openresponse)

Opens it.

### OpenRequest

How to open.

| field | type | what it says |
| --- | --- | --- |
| by = 1 | optional string | By whom, a \\| b. At most one. |
| front = 2 | [OpenRequest.Door](#openrequestdoor), one of *door* | In front. |
| back = 3 | bool, one of *door* |  |
| hours = 4 | map of string to google.protobuf.Duration | For how long. |

### OpenRequest.Door

A door.

| field | type | what it says |
| --- | --- | --- |
| colours = 1 | repeated [OpenRequest.Door.Colour](#openrequestdoorcolour) |  |

### OpenRequest.Door.Colour

Of doors.

| value | what it says |
| --- | --- |
| COLOUR_UNSPECIFIED = 0 | None. |

### OpenResponse
"""
    )


def test_a_stale_reference_is_told(monkeypatch, tmp_path, capsys):
    assert reference.main(["--check"]) == 0
    page = tmp_path / "api.md"
    page.write_text(reference.PAGE.read_text("utf-8").replace("Where images come from.", ""))
    monkeypatch.setattr(reference, "PAGE", page)
    assert reference.main(["--check"]) == 1
    assert "run make reference" in capsys.readouterr().err
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
