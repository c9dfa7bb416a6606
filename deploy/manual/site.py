"""What mkdocs is told besides mkdocs.yml: hooks, called by their names.

A page that another one names as `docs/engine.md` is linked from there. Drawings are put into the
page, whose colours they take.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

_NAMED = re.compile(r"(?<!\[)`docs/([\w/-]+\.md)`")
_DRAWING = re.compile(r'<img alt="([^"]*)" src="([^"]+\.svg)"[^>]*>')
_FENCE = "```"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = posixpath.dirname(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        if files.get_file_from_path(found[1]) is None or found[1] == page.file.src_uri:
            return found[0]
        return f"[{found[0]}]({posixpath.relpath(found[1], here or '.')})"

    parts = markdown.split(_FENCE)
    return _FENCE.join(
        _NAMED.sub(link, each) if n % 2 == 0 else each for n, each in enumerate(parts)
    )


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    folder = Path(config.docs_dir, posixpath.dirname(page.file.src_uri))

    def draw(found: re.Match[str]) -> str:
        drawing = (folder / found[2]).read_text("utf-8")
        return f'<div class="drawing" role="img" aria-label="{found[1]}">{drawing}</div>'

    return _DRAWING.sub(draw, html)
