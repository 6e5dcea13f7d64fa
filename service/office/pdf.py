"""A report as a PDF: tagged, readable text; the same content is the same file, byte by byte."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from fpdf.enums import MethodReturnValue

from service.office.blocks import Amounts, Block, Checks, Facts, Report, Steps, Table, Text
from service.office.proofs import Check
from service.office.tagged import ENCODING, TaggedPdf, plain

MARGIN, WIDTH, LINE = 18.0, 174.0, 4.6  # mm
SANS, MONO = "Helvetica", "Courier"
INK, SOFT, RULE = (29, 37, 39), (76, 90, 94), (201, 208, 209)
GREYS = {"removed": (91, 74, 104), "changed": (120, 170, 176), "kept": (217, 227, 223)}


def as_pdf(report: Report) -> bytes:
    sheet = _Sheet(report)
    for section in report.sections:
        sheet.heading(section.title)
        for block in section.blocks:
            sheet.block(block)
    for name, data in report.files.items():
        sheet.embed_file(bytes=data, basename=name, mime_type="application/x-ndjson")
    return bytes(sheet.output())


class Cell(NamedTuple):
    text: str
    font: str = SANS
    style: str = ""
    side: str = "L"

    @property
    def size(self) -> float:
        return 8.2 if self.font == MONO else 9


class _Sheet(TaggedPdf):
    """One report on pages of A4."""

    def __init__(self, report: Report) -> None:
        super().__init__(plain(f"{report.title}: {report.subject}"))
        self.set_margins(MARGIN, 16, MARGIN)
        self.set_auto_page_break(False)
        self._subject = plain(report.subject)
        self.add_page()
        self._front(report)

    def _front(self, report: Report) -> None:
        self._text("H1", report.title, size=19, style="B", line=8)
        self._text("P", report.subject, size=11, soft=True)
        self.ln(2)

    def footer(self) -> None:
        with self.artifact():
            self.set_y(-12)
            self.set_font(SANS, size=8)
            self.set_text_color(*SOFT)
            self.cell(WIDTH * 0.8, 4, f"Twinport privacy report · {self._subject}"[:110])
            self.cell(WIDTH * 0.2, 4, f"page {self.page_no()}", align="R")

    def heading(self, text: str) -> None:
        self._room(24)
        self.ln(3)
        self.start_section(plain(text))
        self._text("H2", text, size=13, style="B", line=6)
        self.ln(1)

    def block(self, block: Block) -> None:
        if isinstance(block, Text):
            self._text("P", block.text, style="B" if block.strong else "")
        elif isinstance(block, Facts):
            self._facts(block)
        elif isinstance(block, Table):
            self._table(block)
        elif isinstance(block, Checks):
            self._lines(
                [("yes", c.what) if c.ok else ("NO", f"{c.what}: {c.why}") for c in block.rows]
            )
        elif isinstance(block, Steps):
            self._lines([(f"{i}.", text) for i, text in enumerate(block.rows, 1)])
        else:
            self._amounts(block)
        self.ln(1.6)

    # -- pieces --------------------------------------------------------------------------------

    def _text(
        self, kind: str, text: str, *, size: float = 10, style: str = "", line: float = LINE,
        soft: bool = False,
    ) -> None:  # fmt: skip
        self._font(SANS, size, style, soft=soft)
        lines = self._lines_of(text, WIDTH)
        self._room(line * len(lines))
        with self.tagged(kind):
            self._write(lines, MARGIN, WIDTH, line, "L")

    def _facts(self, block: Facts) -> None:
        with self.group("Table"):
            for name, value in block.rows:
                font = MONO if name in block.mono else SANS
                self._row([Cell(name), Cell(value, font)], [46, 128], "TH")

    def _lines(self, rows: Sequence[tuple[str, str]]) -> None:
        with self.group("L"):
            for mark, text in rows:
                cells = [Cell(mark, style="B"), Cell(text)]
                self._row(cells, [10, 164], "Lbl", "LI", "LBody")

    def _table(self, block: Table) -> None:
        if block.caption:
            self._text("P", block.caption, style="B")
        widths = [WIDTH * part / sum(block.widths) for part in block.widths]
        sides = ["R" if i in block.right else "L" for i in range(len(widths))]
        fonts = [MONO if i in block.mono else SANS for i in range(len(widths))]
        heads = [Cell(head, SANS, "B", side) for head, side in zip(block.heads, sides, strict=True)]
        with self.group("Table"):
            self._row(heads, widths, "TH", rest="TH", rule=True)
            for row in block.rows:
                cells = [Cell(text, fonts[i], "", sides[i]) for i, text in enumerate(row)]
                if self._needs(cells, widths) > self._left():
                    self._new_page()
                    with self.artifact():
                        self._draw(heads, widths, rule=True)
                self._row(cells, widths, "TH", rule=True)

    def _row(
        self,
        cells: Sequence[Cell],
        widths: Sequence[float],
        first: str,
        group: str = "TR",
        rest: str = "TD",
        *,
        rule: bool = False,
    ) -> None:
        """A row stays on its page."""
        self._room(self._needs(cells, widths))
        kinds = [first, *([rest] * (len(cells) - 1))]
        with self.group(group):
            self._draw(cells, widths, kinds, rule=rule)

    def _draw(
        self,
        cells: Sequence[Cell],
        widths: Sequence[float],
        kinds: Sequence[str] = (),
        *,
        rule: bool = False,
    ) -> None:
        top, height, x = self.get_y(), self._needs(cells, widths), MARGIN
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            self._font(cell.font, cell.size, cell.style)
            self.set_y(top + 0.6)
            with self.tagged(kinds[i]) if kinds else nullcontext():
                self._write(self._wrapped(cell, width - 1.5), x, width - 1.5, 4.1, cell.side)
            x += width
        self.set_xy(MARGIN, top + height)
        if rule:
            self._rule()

    def _needs(self, cells: Sequence[Cell], widths: Sequence[float]) -> float:
        lines = (
            self._wrapped(cell, width - 1.5) for cell, width in zip(cells, widths, strict=True)
        )
        return max(4.1 * len(found) + 1.2 for found in lines)

    def _wrapped(self, cell: Cell, width: float) -> list[str]:
        self._font(cell.font, cell.size, cell.style)
        return self._lines_of(cell.text, width)

    def _write(self, lines: Sequence[str], x: float, width: float, line: float, side: str) -> None:
        for text in lines:
            self.set_x(x)
            self.cell(width, line, text, align=side)
            self.set_xy(MARGIN, self.get_y() + line)

    def _lines_of(self, text: str, width: float) -> list[str]:
        """A space at which a line was broken stays at its end, for those who are read to."""
        whole = plain(text)
        found: Any = self.multi_cell(
            width, LINE, whole, dry_run=True, output=MethodReturnValue.LINES
        )
        lines, at = [], 0
        for measured in found:
            line = measured.encode("latin-1").decode(ENCODING)  # fpdf2 thinks in its own spelling
            at += len(line)
            gap = whole[at : at + 1] == " "
            lines.append(line + " " if gap else line)
            at += gap
        return lines or [""]

    def _amounts(self, block: Amounts) -> None:
        total = sum(block.sums.values()) or 1
        self._room(14)
        with self.artifact():
            x, y = MARGIN, self.get_y() + 1
            for amount, n in block.sums.items():
                width = WIDTH * n / total
                self.set_fill_color(*GREYS[amount.value])
                self.rect(x, y, width, 4, style="F")
                x += width
        self.set_xy(MARGIN, self.get_y() + 6)
        shares = [f"{amount.value} {n:,} ({n / total:.0%})" for amount, n in block.sums.items()]
        self._text("P", ", ".join(shares) + ".")

    def _font(self, font: str, size: float, style: str = "", *, soft: bool = False) -> None:
        self.set_font(font, style, size)
        self.set_text_color(*(SOFT if soft else INK))

    def _rule(self) -> None:
        with self.artifact():
            self.set_draw_color(*RULE)
            self.line(MARGIN, self.get_y(), MARGIN + WIDTH, self.get_y())

    def _left(self) -> float:
        return self.h - 18 - self.get_y()

    def _room(self, height: float) -> None:
        if height > self._left():
            self._new_page()

    def _new_page(self) -> None:
        self.add_page()
        self.set_xy(MARGIN, 16)


def _checked(check: Check) -> tuple[str, str]:
    return ("yes", check.what) if check.ok else ("NO", f"{check.what}: {check.why}")
