"""The study as one page that needs no network, and as JSON for whatever reads it next."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from string import Template

from diffusion.evaluation.charts import draw_chart
from diffusion.evaluation.findings import Finding
from diffusion.evaluation.metrics import Figure

PAGE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, slots=True)
class Section:
    """`x_label` where its figures make a curve."""

    key: str
    title: str
    text: str
    x_label: str = ""


SECTIONS = (
    Section(
        "taste",
        "Does it follow the shopper?",
        "A judge that was trained on real composites only reads palette, setting and treatment off "
        "each creative; the figure is how often that is what this shopper likes best, which the "
        "model has never been told. Oracle: the taste is given. Personalized: the shopper's clicks "
        "are given, 20 or more. Generic: nobody is. Mismatched: personalized pictures, held "
        "against every other shopper's taste.",
    ),
    Section(
        "history",
        "How many clicks does it take?",
        "Hit rate in preserve mode, by the number of clicks in a shopper's history.",
        "clicks",
    ),
    Section(
        "identity",
        "Is it still the product?",
        "How often the packshot nearest to the creative, among those of all products, is the "
        "product's own. Preserve pastes the product's own pixels back; restyle draws it anew. "
        "Held-out products were never seen in training.",
    ),
    Section(
        "dial",
        "The dial",
        "What more personalization does to taste and product. Strength 0 is the generic picture.",
        "strength",
    ),
    Section(
        "quality",
        "Does it look real?",
        "Fréchet distance to real composites in the judge's features; lower is closer. A further "
        "set of real composites shows what is as near as it gets with so few pictures.",
    ),
    Section("steps", "How many steps?", "The same pictures in fewer steps, and in more.", "steps"),
    Section(
        "latency", "How long does it take?", "From noise to pixels, for each picture, in float32."
    ),
    Section(
        "encoders",
        "What the encoders know",
        "Recall among the five nearest of all packshots, for titles, tags and other pictures; and "
        "how often a shopper's embedding lies nearest to those who share the taste.",
    ),
    Section(
        "judge",
        "How good is the judge?",
        "On real composites in scenes that it has never seen: no picture can be read better.",
    ),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A contact sheet: `data` is its WebP."""

    name: str
    title: str
    text: str
    data: bytes


def write_report(
    folder: Path,
    findings: Sequence[Finding],
    pictures: Sequence[Picture],
    facts: Mapping[str, str],
    notes: Sequence[str] = (),
) -> Path:
    """Writes report.html, report.json and sheets/*.webp; returns the page's path."""
    (folder / "sheets").mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        (folder / "sheets" / f"{picture.name}.webp").write_bytes(picture.data)
    told = {"facts": dict(facts), "notes": list(notes), "findings": [*map(_tell, findings)]}
    (folder / "report.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    page = folder / "report.html"
    page.write_text(render_page(findings, pictures, facts, notes), "utf-8")
    return page


def _tell(finding: Finding) -> dict[str, object]:
    told: dict[str, object] = {"name": finding.name} | asdict(finding)
    del told["figure"]
    return told | asdict(finding.figure) | {"holds": finding.holds}


def render_page(
    findings: Sequence[Finding],
    pictures: Sequence[Picture],
    facts: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    promised = [finding for finding in findings if finding.target is not None]
    body = [_render_promises(promised)] if promised else []
    body += [_render_picture(picture) for picture in pictures]
    for section in SECTIONS:
        members = [finding for finding in findings if finding.section == section.key]
        if members:
            body.append(_render_section(section, members))
    return Template(PAGE.read_text("utf-8")).substitute(
        verdict=_judge(promised),
        notes="".join(f"<p>{escape(note)}</p>" for note in notes),
        body="\n".join(body),
        facts=" · ".join(f"{escape(k)} {escape(v)}" for k, v in facts.items()),
    )


def _judge(promised: Sequence[Finding]) -> str:
    kept = sum(bool(finding.holds) for finding in promised)
    return f"{kept} of {len(promised)} targets met"


def _render_promises(promised: Sequence[Finding]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(f.measure)} <small>{escape(f.at)}</small></th>'
        f"<td>{_render_figure(f)}</td>"
        f"<td>{'≥' if f.better == 'higher' else '≤'} {show(f.target or 0.0, f.unit)}</td>"
        f'<td class="{"yes" if f.holds else "no"}">{"met" if f.holds else "missed"}</td></tr>'
        for f in promised
    )
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("claim", "measured", "target", "holds")
    )
    return f"<section><h2>What was promised</h2><table><tr>{head}</tr>{rows}</table></section>"


def _render_section(section: Section, findings: Sequence[Finding]) -> str:
    parts = [f"<h2>{escape(section.title)}</h2><p>{escape(section.text)}</p>"]
    if section.x_label:
        parts.append(f'<div class="charts">{"".join(_draw_charts(section, findings))}</div>')
    parts.append(_render_table(findings))
    return f'<section id="{section.key}">{"".join(parts)}</section>'


def _draw_charts(section: Section, findings: Sequence[Finding]) -> Iterator[str]:
    on_axis = [finding for finding in findings if finding.target is None]
    for unit in dict.fromkeys(finding.unit for finding in on_axis):
        yield draw_chart([finding for finding in on_axis if finding.unit == unit], section.x_label)


def _render_table(findings: Sequence[Finding]) -> str:
    """A row for each measure and model, a column for each situation."""
    columns = list(dict.fromkeys(finding.at for finding in findings))
    rows: dict[tuple[str, str], dict[str, Finding]] = {}
    for finding in sorted(findings, key=lambda f: _order(findings, f)):
        rows.setdefault((finding.measure, finding.model), {})[finding.at] = finding
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(measure)} <small>{escape(model)}</small></th>'
        + "".join(f"<td>{_render_figure(cells.get(column))}</td>" for column in columns)
        + "</tr>"
        for (measure, model), cells in rows.items()
    )
    return f'<div class="wide"><table><tr><th></th>{head}</tr>{body}</table></div>'


def _order(findings: Sequence[Finding], finding: Finding) -> int:
    """By measure, so that models stand below each other."""
    return [f.measure for f in findings].index(finding.measure)


def _render_figure(finding: Finding | None) -> str:
    if finding is None:
        return ""
    holds = {None: "", True: ' class="yes"', False: ' class="no"'}[finding.holds]
    return f"<b{holds}>{show(finding.figure.value, finding.unit)}</b> {_show_interval(finding)}"


def _show_interval(finding: Finding) -> str:
    figure: Figure = finding.figure
    ends = f"{show(figure.low, finding.unit)} to {show(figure.high, finding.unit)}"
    return f"<small>{ends}, n = {figure.n}</small>"


def show(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.3g} ms" if unit == "ms" else f"{value:.3g}"


def _render_picture(picture: Picture) -> str:
    data = base64.b64encode(picture.data).decode()
    return (
        f"<section><h2>{escape(picture.title)}</h2><p>{escape(picture.text)}</p>"
        f'<img src="data:image/webp;base64,{data}" alt="{escape(picture.text, quote=True)}">'
        "</section>"
    )
