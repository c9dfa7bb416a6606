"""The tutorials run as they are printed, in their order, against one server that is real."""

import contextlib
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from server.demo.process import running_server
from tests.way.conftest import SERVE
from tests.way.tutorial import follow, read_blocks, write_files

ROOT = Path(__file__).parents[2]
EXPERIMENT = (ROOT / "docs" / "first_experiment.md").read_text("utf-8")


@pytest.fixture(scope="module")
def shop(make_home, tmp_path_factory):
    """The command that the tutorial of experiments starts a server with, in a folder and a home
    of our own; how to ask it, as address and environment."""
    folder, home = tmp_path_factory.mktemp("reader"), make_home()
    (folder / "features").symlink_to(ROOT / "features")
    blocks = read_blocks(EXPERIMENT)
    (told,) = [shlex.split(block.text) for block in blocks if block.serves]
    assert told[:4] == ["python", "-m", "server", "serve"]
    paths = f"{ROOT}:{ROOT / 'clients' / 'python'}"
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", paths)
        write_files(blocks)
        command = (*SERVE, *told[4:], "--engine.threads=1", "--engine.buckets=1,2,3,4")
        with running_server(command, home, folder / "server.log", lambda: None) as ports:
            yield (
                ports.server,
                os.environ
                | {
                    "ETALAGE_SERVER": ports.server,
                    "ETALAGE_HOME": str(home),
                    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                },
            )


def read_page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def test_the_first_page_can_be_followed(shop):
    page = read_page("index.md")
    follow(page, *shop)
    with Image.open("handbag.png") as image:
        assert image.size == (512, 512)
    assert sorted(path.name for path in Path("slate").iterdir()) == ["0.png", "1.png", "2.png"]
    assert Path("teapot.webp").exists() and Path("teapot.png").exists()
    (commands,) = [block.text for block in read_blocks(page) if block.kind == "console"]
    for target in re.findall(r"^make (\w+)", commands, re.M):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.M)


def test_a_catalogue_can_be_brought(shop):
    follow(read_page("catalogue.md"), *shop)
    for name in ("backpack.png", "bule.png", "mug.png"):
        with Image.open(name) as image:
            assert image.size == (512, 512)


def test_an_experiment_can_be_run(shop):
    names = follow(EXPERIMENT, *shop)
    assert len(names["answers"]) == 60
    assert Path("report.html").read_text("utf-8").startswith("<!doctype html>")


def test_a_page_that_promises_too_much_is_noticed():
    page = '```python\nprint("2 images in 3 s")\n```\n\n```text\n{} images in … s\n```\n'
    follow(page.format(2), "nobody", {})
    with pytest.raises(AssertionError, match="3 images in"):
        follow(page.format(3), "nobody", {})
    with pytest.raises(AssertionError, match="no such command"):
        follow("```bash\necho 'no such command' >&2; false; true\n```\n", "nobody", os.environ)
