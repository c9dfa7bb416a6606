"""The example of the client's README runs as it is printed."""

from pathlib import Path

from etalage.v1 import images_pb2 as pb
from tests.clients.scripted import PIXEL, result_of, serve, succeed

README = Path(__file__).parents[2] / "clients" / "python" / "README.md"


def answer(request, context):
    if not isinstance(request, pb.GenerateSlateRequest):
        return succeed(request, context)
    return [
        pb.GenerateSlateResponse(rank=rank, product_id=product, result=result_of())
        for rank, product in enumerate(request.product_ids)
    ]


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("shoe.png").write_bytes(PIXEL)
    example = README.read_text("utf-8").split("```python\n")[1].split("```")[0]
    with serve(answer) as (server, service):
        exec(example.replace("127.0.0.1:50051", server), {})
    assert len(service.requests) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "shoe.png",
        "shoe.webp",
        "wrench.png",
    ]
    assert "personalized applied 7" in capsys.readouterr().out
