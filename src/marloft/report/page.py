"""A page as a list of blocks, rendered as one self-contained HTML file or as Markdown."""

import html
import re
from collections.abc import Sequence

from msgspec import Struct


class Heading(Struct, frozen=True, kw_only=True):
    """A section's title."""

    text: str


class Paragraph(Struct, frozen=True, kw_only=True):
    """Running text; `code` in backquotes and **strong** in double stars are marked up."""

    text: str


class Bullets(Struct, frozen=True, kw_only=True):
    """A list of short texts."""

    items: list[str]


class Table(Struct, frozen=True, kw_only=True):
    """A table of texts; columns after the first are aligned right when `numeric`."""

    header: list[str]
    rows: list[list[str]]
    numeric: bool = True


class Figure(Struct, frozen=True, kw_only=True):
    """A picture as inline SVG, with a sentence that says what it shows."""

    svg: str
    caption: str


Block = Heading | Paragraph | Bullets | Table | Figure

_STYLE = """
body{font:16px/1.55 system-ui,sans-serif;color:#1c2733;background:#fff;max-width:56rem;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.7rem;margin-bottom:.2rem}
h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid #d5dde5}
table{border-collapse:collapse;margin:.8rem 0;font-size:.93rem;display:block;overflow-x:auto}
th,td{padding:.35rem .8rem;border-bottom:1px solid #e3e9ef;text-align:left;vertical-align:top}
.num td:not(:first-child),.num th:not(:first-child){text-align:right;
font-variant-numeric:tabular-nums}
.banner{padding:.9rem 1.1rem;border-radius:.4rem;font-size:1.15rem;border-left:.5rem solid}
.ship,.pass{background:#e8f5ec;border-color:#2e7d4f}
.do_not_ship,.fail{background:#fdeceb;border-color:#b3362b}
.not_shown,.refused,.cannot_tell{background:#fff6e0;border-color:#b7791f}
figure{margin:1rem 0}figure svg{max-width:100%;height:auto}
figcaption{color:#51606f;font-size:.9rem}
code{background:#f1f4f7;padding:.05rem .25rem;border-radius:.2rem;overflow-wrap:anywhere}
"""


def to_html(title: str, banner: str, mood: str, blocks: Sequence[Block]) -> str:
    """Return one HTML document that needs no other file; `mood` is the banner's CSS class."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f'<h1>{html.escape(title)}</h1>\n<p class="banner {mood}">{_inline(banner)}</p>\n'
        f"{body}\n</body></html>\n"
    )


def to_markdown(title: str, banner: str, blocks: Sequence[Block]) -> str:
    """Return the page as Markdown; figures become their captions."""
    parts = [f"# {title}", f"> {banner}", *(_markdown(block) for block in blocks)]
    return "\n\n".join(parts) + "\n"


def _html(block: Block) -> str:
    match block:
        case Heading(text=text):
            return f"<h2>{html.escape(text)}</h2>"
        case Paragraph(text=text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(items=items):
            return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Table():
            return _html_table(block)
        case Figure(svg=svg, caption=caption):
            return f"<figure>{svg}<figcaption>{_inline(caption)}</figcaption></figure>"


def _html_table(table: Table) -> str:
    head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in table.header)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    kind = ' class="num"' if table.numeric else ""
    return f"<table{kind}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _inline(text: str) -> str:
    safe = html.escape(text)
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)


def _markdown(block: Block) -> str:
    match block:
        case Heading(text=text):
            return f"## {text}"
        case Paragraph(text=text):
            return text
        case Bullets(items=items):
            return "\n".join(f"- {item}" for item in items)
        case Table(header=header, rows=rows, numeric=numeric):
            rule = ["---"] + ["---:" if numeric else "---"] * (len(header) - 1)
            cells = [header, rule, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
            return "\n".join("| " + " | ".join(row) + " |" for row in cells)
        case Figure(caption=caption):
            return f"*Figure (in the HTML page): {caption}*"
