"""Nothing that comes out of a busy server says who asked: no id of a shopper, and no embedding.

One server with all that it can do switched on is asked everything there is to ask, goes wrong in
every way, and then all that it said, logged, counted and left on the disk is looked through.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest

from etalage.v1 import batches_pb2, enhancement_pb2, experiments_pb2, images_pb2
from etalage.v1.batches_pb2_grpc import BatchServiceStub
from etalage.v1.enhancement_pb2_grpc import EnhancementServiceStub
from etalage.v1.experiments_pb2_grpc import ExperimentServiceStub
from etalage.v1.images_pb2_grpc import ImageServiceStub
from server.demo.process import running_server, scrape
from tests.fuzz.seeds import draw
from tests.server.collector import collecting
from tests.way.conftest import SERVE

PRODUCT = "backpack"
STRANGER, SESSION = "anna.b+7f3a@example.com", "session-5d1e77c0a9"
PROGRAMME = """
experiments:
  - key: faces
    arms:
      - {name: generic, weight: 0.5}
      - {name: bold, weight: 0.5, shows: personalized, model: fast}
    bandit: {reward: click}
"""
HOLDERS = ("/store/", "/evaluation/latent_tastes.", "/world/clicks.", "/batches.db")
"""Files under home that are there to know shoppers: the feature store, what a simulation drew, and
batches, whose requests are kept for as long as they may have to be made again."""


@dataclass
class Told:
    """All that came back, as bytes, by where it came from."""

    parts: dict[str, bytes] = field(default_factory=dict)
    codes: list[str] = field(default_factory=list)

    def hear(self, name: str, call: Any, is_stream: bool = False) -> Any:
        """The answer of a call, or of a stream the last one, without the bytes of its pictures."""
        answers = []
        try:
            answers = list(call) if is_stream else [call.result()]
            self.codes.append("OK")
        except grpc.RpcError as error:
            call = error
            self.codes.append(error.code().name)  # type: ignore[attr-defined]
            self.put(name, "details", str(error.details()).encode())  # type: ignore[attr-defined]
        metadata = [*(call.initial_metadata() or ()), *(call.trailing_metadata() or ())]
        self.put(name, "metadata", repr([tuple(each) for each in metadata]).encode())
        for number, answer in enumerate(answers):
            for token in list_tokens(answer):
                self.put(name, f"token {number}", base64.urlsafe_b64decode(token + "=="))
            clear_pictures(answer)
            self.put(name, f"answer {number}", answer.SerializeToString())
        return answers[-1] if answers else None

    def put(self, name: str, what: str, content: bytes) -> None:
        self.parts[f"{len(self.parts)} {name}: {what}"] = content


def walk(message: Any) -> Iterator[Any]:
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        for inner in value if descriptor.is_repeated else (value,):
            yield from walk(inner)


def list_tokens(answer: Any) -> list[str]:
    images = [each for each in walk(answer) if isinstance(each, images_pb2.Image)]
    return [each.exposure_token for each in images if each.exposure_token]


def clear_pictures(answer: Any) -> None:
    for each in list(walk(answer)):
        if isinstance(each, images_pb2.Image):
            each.data = b""


@dataclass(frozen=True)
class Looked:
    """What a busy server said, and who had asked it."""

    told: Told
    shoppers: tuple[str, ...]
    embeddings: dict[str, np.ndarray]
    files: dict[str, bytes]
    spans: tuple[str, ...]
    """Their names."""


@pytest.fixture(scope="module")
def looked(running, tmp_path_factory) -> Looked:
    folder, home = tmp_path_factory.mktemp("leaks"), running.log.parent
    (folder / "programme.yaml").write_text(PROGRAMME)
    mood = folder / "mood"
    command = (
        *(*SERVE, "--logging.level=debug", f"--image_cache.folder={folder / 'cache'}"),
        f"--experiments.programme={folder / 'programme.yaml'}",
        "--creatives.safety=tests.way.moody:Moody",
        f"--creatives.safety_options={json.dumps({'mood': str(mood)})}",
        f"--batches.folder={folder / 'batches'}",
    )
    who, told = running.shoppers, Told()
    known = *list(who.tastes)[:3], who.no_consent, who.cold_start
    with collecting() as collector:
        traced = (*command, f"--tracing.endpoint={collector.endpoint}")
        with running_server(traced, home, folder / "server.log", lambda: None) as ports:
            with grpc.insecure_channel(ports.server) as channel:
                ask_everything(channel, told, known, mood)
            told.put("metrics", "scrape", scrape(ports))
    for body in collector.bodies:
        told.put("traces", "spans", body)
    paths = [path for root in (folder, home) for path in root.rglob("*") if path.is_file()]
    files = {
        str(path): path.read_bytes()
        for path in paths
        if not any(each in str(path) for each in HOLDERS)
    }
    spans = tuple(span.name for span in collector.spans)
    return Looked(told, (*known, STRANGER, SESSION), read_embeddings(home, known), files, spans)


def ask_everything(channel: grpc.Channel, told: Told, known: tuple[str, ...], mood: Path) -> None:
    images, small = ImageServiceStub(channel), images_pb2.OutputSpec(longest_side=64)
    one = known[0]

    def ask(product: str = PRODUCT, **fields: Any) -> images_pb2.GenerateImageRequest:
        asked: dict[str, Any] = {"steps": 2, "output": small} | fields
        return images_pb2.GenerateImageRequest(product_id=product, **asked)

    def generate(name: str, request: Any, timeout: float = 60, **told_too: Any) -> Any:
        return told.hear(name, images.GenerateImage.future(request, timeout=timeout, **told_too))

    for user in (*known, STRANGER, ""):
        generate("image", ask(user_id=user, session_id=SESSION, explain=True))
    assert any("token" in part for part in told.parts), "experiments sign their images"
    caption = {"title": True, "badge": "new"}
    generate("again", ask(user_id=one, session_id=SESSION, caption=caption, request_id="r-1"))
    generate("repeat", ask(user_id=one, request_id="r-1"))
    stream = images_pb2.StreamImageRequest(image=ask(user_id=one), preview_side=32)
    told.hear("stream", images.StreamImage(stream, timeout=60), is_stream=True)
    slate = images_pb2.GenerateSlateRequest(product_ids=["bicycle", "gone", "croissant"])
    slate.template.CopyFrom(images_pb2.GenerateImageRequest(user_id=one, steps=2, output=small))
    told.hear("slate", images.GenerateSlate(slate, timeout=60), is_stream=True)
    why = images_pb2.ExplainImageRequest(image=ask(user_id=one), map_side=32)
    told.hear("explanation", images.ExplainImage.future(why, timeout=60))
    ask_others(channel, told, one)
    generate("bad", ask(user_id=one, steps=999, locale="no tag", brand_kit="none", model="none"))
    generate("gone", ask("no-such-product", user_id=one, session_id=SESSION))
    generate("long", ask(user_id=STRANGER * 20))
    generate("late", ask(user_id=one, steps=100, num_images=8), timeout=0.05)
    raw = channel.unary_unary("/etalage.v1.ImageService/GenerateImage", None, None)
    told.hear("bytes", raw.future(b"\xff\x07" + one.encode()))
    mood.touch()
    for user in (one, known[3], STRANGER):
        generate("failure", ask("teapot", user_id=user, session_id=SESSION, cache_policy=3))
    mood.unlink()


def ask_others(channel: grpc.Channel, told: Told, one: str) -> None:
    repair = enhancement_pb2.EnhanceImageRequest(image=draw("PNG"), diagnose_only=True)
    told.hear("repair", EnhancementServiceStub(channel).EnhanceImage.future(repair, timeout=60))
    events, lab = experiments_pb2.RecordEventsRequest(), ExperimentServiceStub(channel)
    for kind, token in ((1, one), (2, "forged")):
        events.events.add(event_id=f"e-{kind}", kind=kind, exposure_token=token)  # type: ignore[arg-type]
    told.hear("events", lab.RecordEvents.future(events, timeout=60))
    report = experiments_pb2.GetExperimentReportRequest(experiment="faces", html=True)
    told.hear("report", lab.GetExperimentReport.future(report, timeout=60))
    batch, office = batches_pb2.GenerateBatchRequest(request_id="leaks"), BatchServiceStub(channel)
    for product in (PRODUCT, "no-such-product"):
        batch.requests.add(product_id=product, user_id=one, session_id=SESSION, steps=2)
    told.hear("batch", office.GenerateBatch.future(batch, timeout=60))
    watch = batches_pb2.WatchBatchRequest(batch_id="leaks")
    told.hear("batch", office.WatchBatch(watch, timeout=60), is_stream=True)
    told.hear("batches", office.ListBatches.future(batches_pb2.ListBatchesRequest(), timeout=60))


def read_embeddings(home: Path, known: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Of all that the store ever held of them."""
    found: dict[str, np.ndarray] = {}
    for path in sorted((home / "store").rglob("*.parquet")):
        table = pq.read_table(path)
        if not {"user_id", "embedding"} <= set(table.column_names):
            continue
        for row in table.select(["user_id", "embedding"]).to_pylist():
            if row["user_id"] in known and row["embedding"]:
                vector = np.asarray(row["embedding"], np.float32)
                found[f"{row['user_id']} {hashlib.sha256(vector.tobytes()).hexdigest()[:8]}"] = (
                    vector
                )
    return found


def spell(shopper: str) -> Iterator[bytes]:
    """Ways to write an id, and digests that whoever has a list of ids can undo."""
    yield shopper.encode()
    yield shopper.encode("utf-16-le")
    yield quote(shopper, safe="").encode()
    yield shopper.encode().hex().encode()
    yield base64.b64encode(shopper.encode()).rstrip(b"=")[:-1]
    for digest in (hashlib.md5, hashlib.sha1, hashlib.sha256, hashlib.blake2b):
        yield digest(shopper.encode()).hexdigest().encode()
        yield digest(shopper.encode()).digest()


def find_ids(content: bytes, shoppers: tuple[str, ...]) -> list[str]:
    return [who for who in shoppers if any(way in content for way in spell(who))]


def find_embeddings(content: bytes, embeddings: dict[str, np.ndarray]) -> list[str]:
    """As numbers of 16, 32 or 64 bit, or written out, of which the first ones are enough."""
    found = []
    for name, vector in embeddings.items():
        first = vector[:4]
        ways = [first.astype(kind).tobytes() for kind in ("<f4", "<f8", "<f2", ">f4")]
        told = rb"[^0-9-]{1,4}".join(
            re.escape(f"{x:.9f}"[:6].encode()) + rb"\d*" for x in first[:3]
        )
        ways += [base64.b64encode(first.tobytes())[:16], first.tobytes().hex().encode()]
        if any(way in content for way in ways) or re.search(told, content):
            found.append(name)
    return found


def test_the_server_was_busy_and_went_wrong_in_every_way(looked):
    codes = set(looked.told.codes)
    assert {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "DEADLINE_EXCEEDED", "INTERNAL"} <= codes
    log = next(
        content for path, content in looked.files.items() if path.endswith("leaks0/server.log")
    )
    assert b"out of sorts" in log and b"Traceback" in log and b'"level": "debug"' in log
    assert any("/cache/" in path for path in looked.files)
    assert any(path.endswith("manifest.parquet") for path in looked.files)
    assert any(path.endswith("events.db") for path in looked.files)
    assert len(looked.embeddings) >= 3


def test_every_stage_of_the_way_is_traced(looked):
    stages = "assign read fuse plan queue sample decode compose verify encode seal explain"
    assert {"etalage.v1.ImageService/GenerateImage", "generate", *stages.split()} <= set(
        looked.spans
    )


def test_what_is_looked_for_would_be_found(looked):
    name, vector = next(iter(looked.embeddings.items()))
    rows = (
        json.dumps({"vector": [float(x) for x in vector]}).encode(),
        repr(vector.tolist()).encode(),
    )
    for content in (b"..." + vector.tobytes(), vector.astype("<f8").tobytes(), *rows):
        assert name in find_embeddings(content, looked.embeddings)
    for content in (b'{"a": "anna.b+7f3a@example.com"}', b"u=anna.b%2B7f3a%40example.com"):
        assert find_ids(content, looked.shoppers) == [STRANGER]


def test_no_answer_error_metadata_or_trace_tells_who_asked(looked):
    for name, content in looked.told.parts.items():
        assert find_ids(content, looked.shoppers) == [], name
        assert find_embeddings(content, looked.embeddings) == [], name


def test_no_log_metric_manifest_or_other_file_does(looked):
    for path, content in looked.files.items():
        assert find_ids(path.encode() + b"\n" + content, looked.shoppers) == [], path
        assert find_embeddings(content, looked.embeddings) == [], path
