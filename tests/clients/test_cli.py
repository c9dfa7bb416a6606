"""The command, as a person runs it: a process of its own against a real server."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from google.rpc import code_pb2

from etalage.v1 import enhancement_pb2
from etalage.v1 import images_pb2 as pb
from tests.clients.scripted import (
    INVALID,
    OVERLOADED,
    PIXEL,
    cancel_one,
    fail,
    image_of,
    result_of,
    serve,
    sleep_until_cancelled,
    succeed,
)

COMMAND = [str(Path(sys.executable).with_name("etalage"))]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_generate_writes_the_image_and_says_how_it_came_about(tmp_path):
    shoe = tmp_path / "shoe.webp"
    with serve(succeed) as (server, service):
        done = run("generate", "--product", "shoe", "--user", "u1", "--strength", "0",
                   "--seed", "0", "-o", shoe, ETALAGE_SERVER=server)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{shoe}: arm personalized, applied, seed 7, 20 steps, 1002 ms\n"
    assert shoe.read_bytes() == PIXEL
    sent = service.requests[0]
    assert (sent.product_id, sent.user_id) == ("shoe", "u1")
    assert sent.HasField("seed") and sent.guidance.HasField("strength")
    assert sent.output.format == pb.IMAGE_FORMAT_WEBP  # by the name of the file


def test_the_options_of_the_engine_and_the_id_are_sent(tmp_path):
    with serve(succeed) as (server, service):
        done = run("generate", "--product", "shoe", "--model", "fast", "--sigmas", "karras",
                   "--aspect-ratio", "1.5", "--style", "noir",
                   "--reuse", "--request-id", "r-1", "-o", tmp_path / "a.png",
                   "--server", server)  # fmt: skip
    assert done.returncode == 0
    sent = service.requests[0]
    assert (sent.model, sent.sigmas, sent.request_id) == ("fast", pb.SIGMAS_KARRAS, "r-1")
    assert sent.reuse_predictions
    assert (sent.output.aspect_ratio, sent.style) == (1.5, "noir")


def test_what_was_given_up_and_what_it_took_is_told(tmp_path):
    late = {"degradation": pb.DEGRADATION_FEWER_STEPS, "num_forward_rows": 42,
            "num_shared_steps": 7}  # fmt: skip
    with serve(lambda request, context: result_of(**late)) as (server, _):
        done = run("generate", "--product", "shoe", "-o", tmp_path / "a.png", "--server", server)
    assert done.stdout.endswith(
        "seed 7, degraded to fewer steps, 20 steps, 1002 ms, 42 forward rows, 7 steps shared\n"
    )


def test_what_the_server_warns_of_is_told(tmp_path):
    cut = "the prompt is longer than the model reads: 5 tokens were cut"
    with serve(lambda request, context: result_of(warnings=[cut])) as (server, _):
        done = run("generate", "--product", "shoe", "-o", tmp_path / "a.png", "--server", server)
    assert done.returncode == 0
    assert done.stderr == f"etalage: warning: {cut}\n"


def test_cancel_says_what_it_did():
    with serve(cancel_one, lambda *_: pb.CancelImageResponse()) as (server, service):
        done = run("cancel", "r-1", "--server", server)
        late = run("cancel", "r-2", "--server", server)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "r-1: 1 cancelled, refused for a while\n"
    assert late.stdout == "r-2: 0 cancelled, its answer, if any, stays\n"
    assert [request.request_id for request in service.requests] == ["r-1", "r-2"]


def test_several_images_are_numbered(tmp_path):
    with serve(lambda request, context: result_of(3)) as (server, _):
        done = run("generate", "--product", "shoe", "-o", tmp_path / "a.png", "--num-images", 3,
                   "--server", server)  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-2.png", "a-3.png", "a.png"]
    for seed, line in zip((7, 8, 9), done.stdout.splitlines(), strict=True):
        assert f"seed {seed}," in line


def test_a_product_of_ones_own(tmp_path):
    (tmp_path / "in.png").write_bytes(PIXEL)
    with serve(succeed) as (server, service):
        done = run("generate", "--product", "red shoe", "--packshot", tmp_path / "in.png",
                   "-o", tmp_path / "out.png", "--server", server)  # fmt: skip
    assert done.returncode == 0
    assert service.requests[0].inline_product == pb.InlineProduct(title="red shoe", packshot=PIXEL)


def test_a_product_of_ones_own_may_bring_a_mask(tmp_path):
    (tmp_path / "shoe.png").write_bytes(PIXEL)
    (tmp_path / "mask.png").write_bytes(PIXEL + b"mask")
    with serve(succeed) as (server, service):
        done = run("generate", "--product", "Shoe", "--packshot", tmp_path / "shoe.png",
                   "--mask", tmp_path / "mask.png", "-o", tmp_path / "a.png",
                   "--server", server)  # fmt: skip
    assert done.returncode == 0, done.stderr
    inline = service.requests[0].inline_product
    assert (inline.packshot, inline.mask) == (PIXEL, PIXEL + b"mask")


def test_explain_tells_shares_and_keeps_the_map(tmp_path):
    influence = pb.Influence(input="profile", description="mint, table", share=0.75, change=3.5)
    told = pb.Explanation(text="Mostly you.", influences=[influence], shopper_map=image_of())
    with serve(lambda request, context: pb.ExplainImageResponse(explanation=told)) as (
        server,
        service,
    ):
        done = run("explain", "--product", "shoe", "--user", "u1", "--map", tmp_path / "map.png",
                   "--server", server)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    said = "Mostly you.\n +75.0%    3.50/255  profile: mint, table\n"
    assert done.stdout == said
    assert (tmp_path / "map.png").read_bytes() == PIXEL
    assert service.requests[0].image.user_id == "u1"


def _repaired(request, context):
    found = enhancement_pb2.EnhanceImageResponse.Finding(
        defect=enhancement_pb2.DEFECT_NOISE,
        score_before=0.8,
        score_after=0.1,
        is_found=True,
        measured="noise of 20 codes",
    )
    return enhancement_pb2.EnhanceImageResponse(
        image=None if request.diagnose_only else image_of(),
        findings=[found],
        repairs=[enhancement_pb2.REPAIR_RESTORE],
        difference=image_of(),
        warnings=["upscale: not done"],
    )


def test_enhance_tells_what_was_wrong_and_done_and_writes_as_the_name_says(tmp_path):
    (tmp_path / "mug.png").write_bytes(PIXEL)
    with serve(_repaired) as (server, service):
        done = run("enhance", "--packshot", tmp_path / "mug.png", "-o", tmp_path / "mug.webp",
                   "--difference", tmp_path / "changed.png", "--repairs", "restore", "upscale",
                   "--steps", "2", "--upscale-factor", "3", "--quality", "80",
                   "--server", server)  # fmt: skip
    assert done.returncode == 0
    first, last = done.stdout.splitlines()
    assert first.startswith("! noise") and "0.80 -> 0.10  noise of 20 codes" in first
    assert last == f"{tmp_path / 'mug.webp'}: restore"
    assert done.stderr == "etalage: upscale: not done\n"
    assert (tmp_path / "mug.webp").read_bytes() == PIXEL
    assert (tmp_path / "changed.png").read_bytes() == PIXEL
    sent = service.requests[0]
    assert (sent.image, sent.steps, sent.upscale_factor) == (PIXEL, 2, 3)
    assert (sent.output.format, sent.output.quality) == (pb.IMAGE_FORMAT_WEBP, 80)
    assert list(sent.repairs) == [enhancement_pb2.REPAIR_RESTORE, enhancement_pb2.REPAIR_UPSCALE]


def test_without_an_output_enhance_only_diagnoses():
    with serve(_repaired) as (server, service):
        done = run("enhance", "--product", "shoe", "--server", server)
    assert done.returncode == 0 and done.stdout.startswith("! noise")
    assert service.requests[0].diagnose_only and service.requests[0].product_id == "shoe"
    assert not service.requests[0].output.format


def _news(request, context):
    yield pb.StreamImageResponse(accepted=pb.Accepted(request_id="r-1"))
    for step in (1, 2):
        yield pb.StreamImageResponse(progress=pb.Progress(step=step, total_steps=2))
    yield pb.StreamImageResponse(result=result_of())


def test_stream_shows_progress_to_a_person(tmp_path):
    screen, terminal = pty.openpty()
    with serve(_news) as (server, _):
        done = subprocess.run(
            [*COMMAND, "stream", "--product", "shoe", "-o", "shoe.png", "--server", server],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=terminal,
            timeout=60,
        )
    shown = os.read(screen, 4096).decode()
    os.close(screen)
    os.close(terminal)
    assert done.returncode == 0 and done.stdout.startswith(b"shoe.png: arm personalized")
    assert shown == f"\r{'#' * 15}{'.' * 15} 1/2\r{'#' * 30} 2/2\r\n"


def test_stream_writes_no_bar_into_a_log(tmp_path):
    with serve(_news) as (server, _):
        done = run("stream", "--product", "shoe", "-o", tmp_path / "shoe.png", "--server", server)
    assert (done.returncode, done.stderr) == (0, "")


def test_slate_fills_a_folder_by_rank_and_reports_what_failed(tmp_path):
    def slate(request, context):
        yield pb.GenerateSlateResponse(rank=1, product_id="../b/ c", result=result_of())
        jpeg = pb.Image(data=b"jpeg", mime_type="image/jpeg")
        yield pb.GenerateSlateResponse(rank=2, product_id="d", result=result_of(images=[jpeg]))
        error = pb.SlateError(code=code_pb2.NOT_FOUND, reason="PRODUCT_NOT_FOUND", message="no a")
        yield pb.GenerateSlateResponse(rank=0, product_id="a", error=error)

    with serve(slate) as (server, service):
        done = run("slate", "--products", "a", "../b/ c", "d", "-o", tmp_path / "new",
                   "--server", server)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "etalage: a: no a [PRODUCT_NOT_FOUND]\n"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "02-.._b__c.png",
        "03-d.jpg",
    ]
    assert list(service.requests[0].product_ids) == ["a", "../b/ c", "d"]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (INVALID, 2, "steps: 0 is not 1 to 100"),
        (fail(grpc.StatusCode.NOT_FOUND, "no product 'shoe'"), 3, "no product 'shoe' [NOT_FOUND]"),
        (OVERLOADED, 4, "the server is full [OVERLOADED], try again in 2.5 s"),
        (fail(grpc.StatusCode.UNAVAILABLE, "stopping", -1), 4, "stopping [UNAVAILABLE]"),
        (fail(grpc.StatusCode.UNAUTHENTICATED, "who?"), 6, "who? [UNAUTHENTICATED]"),
        (fail(grpc.StatusCode.INTERNAL, "internal"), 1, "internal [INTERNAL]"),
        (fail(grpc.StatusCode.CANCELLED, "by its id", -1), 7, "by its id [CANCELLED]"),
    ],
)
def test_errors_are_one_line_and_a_code(tmp_path, answer, code, said):
    with serve(answer) as (server, _):
        done = run("generate", "--product", "shoe", "-o", tmp_path / "shoe.png",
                   "--server", server)  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_too_late_has_a_code_of_its_own(tmp_path):
    with serve(sleep_until_cancelled) as (server, _):
        done = run("generate", "--product", "shoe", "-o", tmp_path / "shoe.png",
                   "--server", server, "--timeout", "0.3")  # fmt: skip
    assert done.returncode == 5 and "[DEADLINE_EXCEEDED]" in done.stderr


def test_wrong_arguments_say_what_is_allowed(tmp_path):
    wrong = run("generate", "--product", "shoe", "-o", "x.png", "--mode", "destroy")
    assert wrong.returncode == 2 and "choose from" in wrong.stderr
    missing = run("generate", "--product", "shoe", "--packshot", "nowhere.png", "-o", "x.png")
    assert missing.returncode == 2 and "nowhere.png" in missing.stderr
    tls = run("generate", "--product", "shoe", "-o", "x.png", "--cert", tmp_path / "nothing.pem")
    assert tls.returncode == 2 and "one needs the other" in tls.stderr


def test_help_explains_every_verb_and_exit_code():
    assert "5: too late" in " ".join(run("--help").stdout.split())
    for verb in ("generate", "stream", "slate"):
        shown = run(verb, "--help").stdout
        assert "--server" in shown and "--strength" in shown
    shown = run("cancel", "--help").stdout
    assert "--server" in shown and "ID" in shown and "--strength" not in shown


def test_the_module_runs_like_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "etalage", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("usage: etalage")


def test_an_image_that_is_not_personalized_says_why(tmp_path):
    original = pb.GenerateImageResponse(
        images=[image_of()],
        source=pb.SOURCE_ORIGINAL,
        arm="original",
        personalization=pb.Personalization(reason=pb.Personalization.REASON_NO_CONSENT),
    )
    with serve(lambda request, context: original) as (server, _):
        done = run("generate", "--product", "shoe", "-o", tmp_path / "a.png", "--server", server)
    assert done.stdout.endswith("arm original, no consent, seed 7, from original, 0 steps, 0 ms\n")
