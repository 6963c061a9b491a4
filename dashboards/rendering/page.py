"""A board as one HTML page: panels where Grafana's grid has them."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from dashboards.rendering.answers import Series, Span
from dashboards.rendering.board_files import Cell, Heading, ShownBoard, ShownPanel
from dashboards.rendering.charts import drawn

WIDTH = 1500
"""Of the page, in pixels."""

_MARGIN, _COLUMN, _ROW, _GAP = 12, 61.5, 36, 8
_TITLE = 26
_HEAD = 56
_STYLE = """
body{margin:0;background:#f4f5f7;color:#24292e;font:13px "DejaVu Sans",sans-serif}
h1{position:absolute;left:14px;top:10px;margin:0;font-size:19px}
h1 small{font-weight:normal;font-size:13px;color:#5f6b7a}
h2{position:absolute;margin:0;font-size:14px;line-height:32px;border-bottom:1px solid #d5d9de}
section{position:absolute;background:#fff;border:1px solid #dfe3e8;border-radius:3px;box-sizing:border-box}
section h3{margin:0;white-space:nowrap;padding:6px 10px 0;font-size:12.5px;line-height:18px;height:20px;overflow:hidden}
svg{display:block}.grid{stroke:#eceff2;fill:none}.limit{stroke-dasharray:5 4;fill:none}
.series{fill:none;stroke-width:1.4}
text{fill:#5f6b7a;font-size:10.5px}text.legend{fill:#24292e}
text.value{font-size:30px;text-anchor:middle;font-weight:bold}
"""


def page(board: ShownBoard, found: Mapping[ShownPanel, Sequence[Series]], span: Span) -> str:
    """The page of a board with the series of its panels."""
    bottom = max(part.cell.y + part.cell.height for part in board.parts)
    head = f"<h1>{escape(board.title)} <small>{escape(board.description)}</small></h1>"
    height = _HEAD + bottom * _ROW + _MARGIN
    body = "".join(_parts(board, found, span))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(board.title)}</title>'
        f"<style>{_STYLE}</style>"
        f'<body style="width:{WIDTH}px;height:{height}px">{head}{body}</body></html>'
    )


def _parts(board: ShownBoard, found: Mapping[ShownPanel, Sequence[Series]], span: Span) -> Iterator[str]:
    for part in board.parts:
        width, height, style = _place(part.cell)
        if isinstance(part, Heading):
            yield f'<h2 style="{style}">{escape(part.title)}</h2>'
            continue
        chart = drawn(part, found[part], span, width - 2, height - _TITLE - 2)
        title = escape(part.title)
        yield f'<section style="{style}" title="{escape(part.description)}"><h3>{title}</h3>{chart}</section>'


def _place(cell: Cell) -> tuple[int, int, str]:
    width, height = int(cell.width * _COLUMN - _GAP), cell.height * _ROW - _GAP
    left, top = int(_MARGIN + cell.x * _COLUMN), _HEAD + cell.y * _ROW
    return width, height, f"left:{left}px;top:{top}px;width:{width}px;height:{height}px"
