"""A page of blocks: each block in both forms, with every text escaped where it has to be."""

from xml.etree import ElementTree

import pytest

from marloft.report.page import (
    Block,
    Bullets,
    Figure,
    Heading,
    Paragraph,
    Table,
    to_html,
    to_markdown,
)

BLOCKS: list[tuple[Block, str, str]] = [
    (Heading(text="a < b"), "<h2>a &lt; b</h2>", "## a < b"),
    (
        Paragraph(text="**Ship** `x<1` & go"),
        "<p><strong>Ship</strong> <code>x&lt;1</code> &amp; go</p>",
        "**Ship** `x<1` & go",
    ),
    (Bullets(items=["a", "<b>"]), "<ul><li>a</li><li>&lt;b&gt;</li></ul>", "- a\n- <b>"),
    (
        Table(header=["arm", "CTR"], rows=[["a|b", "0.5"]]),
        '<table class="num"><thead><tr><th scope="col">arm</th><th scope="col">CTR</th></tr>'
        "</thead><tbody><tr><td>a|b</td><td>0.5</td></tr></tbody></table>",
        "| arm | CTR |\n| --- | ---: |\n| a\\|b | 0.5 |",
    ),
    (
        Table(header=["a", "b"], rows=[], numeric=False),
        '<table><thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead>'
        "<tbody></tbody></table>",
        "| a | b |\n| --- | --- |",
    ),
    (
        Figure(svg="<svg></svg>", caption="CTR & more"),
        "<figure><svg></svg><figcaption>CTR &amp; more</figcaption></figure>",
        "*Figure (in the HTML page): CTR & more*",
    ),
]


@pytest.mark.parametrize(("block", "html", "markdown"), BLOCKS)
def test_block_is_rendered_in_both_forms(block: Block, html: str, markdown: str) -> None:
    assert f"\n{html}\n</body>" in to_html("t", "b", "ship", [block])
    assert to_markdown("t", "b", [block]) == f"# t\n\n> b\n\n{markdown}\n"


def test_page_is_well_formed_and_escapes_title_and_banner() -> None:
    page = to_html("a & b", "<script>", "ship", [block for block, _, _ in BLOCKS])
    body = page[page.index("<body>") : page.index("</html>")]
    tree = ElementTree.fromstring(body)
    assert tree.findtext("h1") == "a & b"
    banner = tree.find("p[@class='banner ship']")
    assert banner is not None
    assert banner.text == "<script>"
