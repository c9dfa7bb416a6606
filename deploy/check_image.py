"""Goes through the Dockerfile's steps without a container: `python -m deploy.check_image`.

Its virtual environment is made in an empty folder, of what it copies and by its own pip commands;
then its command runs there with its environment until its health check passes, and ends by SIGTERM.
The base image, users and packages of Debian are not looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DOCKERFILE = Path(__file__).with_name("Dockerfile")
HOME, PREFIX = "/var/lib/etalage", "/opt/etalage"
START_S, STOP_S = 300.0, 60.0
PLAIN = {
    "ETALAGE_ACCESS__ALLOW_ANYBODY": "true",
    "ETALAGE_ACCESS__ALLOW_PLAIN_TEXT": "true",
    "ETALAGE_ACCESS__PLAIN_TEXT_ADDRESSES": "127.0.0.1",
    "ETALAGE_SERVER__HOST": "127.0.0.1",
}
"""What whoever runs the image has to say: here, that nobody but this machine reaches it."""


@dataclass(frozen=True, slots=True)
class Instruction:
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Of a list in the form of JSON, or of words parted by blanks."""
        if self.text.startswith("["):
            words: list[str] = json.loads(self.text)
            return words
        return shlex.split(self.text)


Stage = Sequence[Instruction]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    text = "cpu, or cuda for what pip finds by itself (default: cuda)"
    parser.add_argument("--device", default="cuda", help=text)
    text = "index of wheels of torch for processors, which cpu needs"
    parser.add_argument("--torch-index", default="", help=text)
    asked = parser.parse_args()
    build, final = read_stages(DOCKERFILE.read_text("utf-8"))
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        root = Path(folder)
        make(build, root, {"DEVICE": asked.device, "TORCH_INDEX": asked.torch_index})
        run(final, root)
    print("image: made, started, healthy, stopped")
    return 0


def read_stages(text: str) -> tuple[Stage, Stage]:
    """The instructions of the Dockerfile's two stages."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    told = re.sub(r"\\\n", " ", "\n".join(lines)).splitlines()
    stages: list[list[Instruction]] = []
    for line in filter(str.strip, told):
        name, _, rest = line.strip().partition(" ")
        if name == "FROM":
            stages.append([])
        if stages:
            stages[-1].append(Instruction(name, rest.strip()))
    build, final = stages
    return build, final


def read_environment(stage: Stage) -> dict[str, str]:
    words = [word for each in stage if each.name == "ENV" for word in each.words]
    return dict(word.split("=", 1) for word in words)


def find(stage: Stage, name: str) -> Instruction:
    return next(each for each in reversed(stage) if each.name == name)


def make(stage: Stage, root: Path, arguments: Mapping[str, str]) -> None:
    """Raises subprocess.CalledProcessError."""
    source, prefix = root / "src", root / PREFIX.strip("/")
    source.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", **arguments}
    environment["PATH"] = f"{prefix / 'bin'}:{os.environ['PATH']}"
    for each in stage:
        if each.name == "COPY":
            *names, to = each.words
            for name in names:
                copy(Path(name), source / to / (Path(name).name if to.endswith("/") else ""))
        if each.name == "RUN" and "apt-get" not in each.text:
            command = each.text.replace(PREFIX, str(prefix)).replace("python -m venv", VENV)
            print("image:", command.replace(str(root), ""), flush=True)
            subprocess.run(["sh", "-ec", command], cwd=source, env=environment, check=True)


VENV = f"{shlex.quote(sys.executable)} -m venv"


def copy(path: Path, to: Path) -> None:
    if path.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(path, to, ignore=ignored, dirs_exist_ok=True)
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)


def run(stage: Stage, root: Path) -> None:
    """Raises RuntimeError where it does not become healthy, or does not stop as it should."""
    home = root / HOME.strip("/")
    home.mkdir(parents=True)
    told = {key: text.replace(HOME, str(home)) for key, text in read_environment(stage).items()}
    told["PATH"] = f"{root / PREFIX.strip('/') / 'bin'}:{os.environ['PATH']}"
    environment = {"HOME": str(home), "LANG": "C.UTF-8", **told, **PLAIN}
    command = [*find(stage, "ENTRYPOINT").words, *find(stage, "CMD").words]
    print("image:", *command, flush=True)
    process = subprocess.Popen(
        [f"{root / PREFIX.strip('/')}/bin/{command[0]}", *command[1:]], cwd=home, env=environment
    )
    try:
        wait_until_healthy(process, find_health_check(stage), environment, home)
        process.send_signal(signal.SIGTERM)
        if (status := process.wait(STOP_S)) != 0:
            raise RuntimeError(f"it ended with status {status}")
    finally:
        process.kill()
        process.wait()


def find_health_check(stage: Stage) -> list[str]:
    return Instruction("CMD", find(stage, "HEALTHCHECK").text.partition(" CMD ")[2].strip()).words


def wait_until_healthy(
    process: subprocess.Popen[bytes],
    check: Sequence[str],
    environment: Mapping[str, str],
    home: Path,
) -> None:
    end_s = time.monotonic() + START_S
    python = shutil.which(check[0], path=environment["PATH"]) or check[0]
    while subprocess.run([python, *check[1:]], cwd=home, env=environment).returncode:
        if process.poll() is not None:
            raise RuntimeError(f"it ended with status {process.returncode}")
        if time.monotonic() > end_s:
            raise RuntimeError(f"it was not healthy within {START_S:.0f} s")
        time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
