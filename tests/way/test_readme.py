"""The commands of the README do what they say."""

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.way.conftest import Running

ROOT = Path(__file__).parents[2]


def read_block(heading: str) -> str:
    """The commands below a heading of the README."""
    text = (ROOT / "README.md").read_text("utf-8").split(f"## {heading}\n")[1]
    return text.split("```\n")[1].replace(".venv/bin/python", sys.executable)


def test_the_five_jobs_are_done_by_the_commands_of_the_readme(running: Running, tmp_path):
    (tmp_path / "features").symlink_to(ROOT / "features")
    bin_folder = Path(sys.executable).parent
    environment = os.environ | {
        "ETALAGE_SERVER": running.address,
        "ETALAGE_HOME": str(running.log.parent),
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-e", "-c", read_block("Five jobs")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "images" / "images").iterdir())) == 2
    assert len(list((tmp_path / "slate").iterdir())) == 3
    made = {path.name for path in tmp_path.glob("*.png")}
    assert made == {
        *("teapot-ar.png", "better.png"),
        *("new.png", "new-2.png", "new-3.png", "new-4.png"),
    }
    with Image.open(tmp_path / "teapot-ar.png") as story:
        assert story.width < story.height
