"""The documentation is built strictly, loads nothing from elsewhere, and links lead somewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDERS = "benchmarks|clients|deploy|diffusion|docs|features|protos|server|tests"
NAMED = re.compile(rf"`((?:{FOLDERS})/[\w./-]+\.[a-z]+)(?:::\w+)?`")
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[\w-]+)?\)")
FOREIGN = re.compile(r"<(?:script|link|img|iframe|source)[^>]+(?:src|href)=\"?(?:https?:)?//[^>]*>")
READMES = ("clients", "features", "diffusion", "benchmarks", "server", "deploy")


def list_texts() -> list[Path]:
    """All that people read and that git may know."""
    found = [*Path().glob("*.md"), *Path("docs").rglob("*.md")]
    for folder in READMES:
        found += Path(folder).rglob("*.md")
    return sorted(path for path in found if "node_modules" not in path.parts)


def build(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    done = build(Path(), out)
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_built_and_can_be_reached(site):
    start = (site / "index.html").read_text("utf-8")
    for page in Path("docs").rglob("*.md"):
        name = page.relative_to("docs").with_suffix(".html").as_posix()
        assert (site / name).is_file() and f'href="{name}"' in start, name


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        assert FOREIGN.findall(page.read_text("utf-8")) == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\"?(https?:)?//", sheet.read_text("utf-8")), sheet


def test_drawings_take_the_colours_of_the_page_and_named_pages_are_links(site):
    concepts = (site / "concepts.html").read_text("utf-8")
    assert concepts.count('<svg class="drawn"') == 2 and "way.svg" not in concepts
    assert '<a href="engine.html"><code>docs/engine.md</code></a>' in concepts
    metrics = (site / "reference/metrics.html").read_text("utf-8")
    assert '<a href="../reliability.html"><code>docs/reliability.md</code></a>' in metrics


def test_a_link_an_anchor_and_a_page_that_lead_nowhere_stop_the_build(tmp_path):
    shutil.copy("mkdocs.yml", tmp_path)
    shutil.copytree("deploy/manual", tmp_path / "deploy/manual")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/style.css").write_text("")
    (tmp_path / "docs/index.md").write_text("# Start\n\n[a](gone.md) and [b](engine.md#gone)\n")
    (tmp_path / "docs/engine.md").write_text("# Engine\n")
    (tmp_path / "docs/lost.md").write_text("# In no navigation\n")
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    for told in ("'gone.md'", "'#gone'", "lost.md"):
        assert re.search(rf"WARNING.*{re.escape(told)}|{re.escape(told)}", done.stderr), told


@pytest.mark.parametrize("path", list_texts(), ids=str)
def test_links_and_named_files_are_there(path):
    text = path.read_text("utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    links = [each for each in LINK.findall(prose) if "://" not in each and ":" not in each]
    assert [each for each in links if not (path.parent / each).exists()] == []
    named = set(NAMED.findall(prose))
    assert [each for each in named if not Path(each).exists()] == []
