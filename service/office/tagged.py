"""A PDF whose text is tagged: headings, paragraphs, lists and tables, in reading order.

fpdf2 builds a structure tree for figures alone; this hangs every piece of text into it. It reaches
into parts of fpdf2 that are not public, which the lock file pins and a test reads back.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from fpdf import FPDF
from fpdf.structure_tree import StructElem, StructureTreeBuilder
from fpdf.syntax import PDFObject

# No moment of making: the same content is the same file, and says nothing of when it was asked for.
NO_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)
ENCODING = "windows-1252"  # of the fonts every reader has
_REPLACED = {"✓": "yes", "✗": "no", "≥": ">=", "≤": "<=", "→": "to", "−": "-", "\u202f": " "}


class _Tree(StructureTreeBuilder):
    """With elements inside elements."""

    def __iter__(self) -> Iterator[PDFObject]:
        yield self.struct_tree_root
        yield self.doc_struct_elem
        yield self.struct_tree_root.parent_tree
        yield from _inside(self.doc_struct_elem)

    def next_mcid_for_page(self, page_number: int) -> int:
        spid = self.spid_per_page_number.setdefault(page_number, len(self.spid_per_page_number))
        return len(self.struct_tree_root.parent_tree.nums[spid])


def _inside(element: StructElem) -> Iterator[StructElem]:
    for kid in element.k:
        if isinstance(kid, StructElem):
            yield kid
            yield from _inside(kid)


class TaggedPdf(FPDF):
    """`group` opens an element that holds others, `tagged` one that holds text."""

    def __init__(self, title: str) -> None:
        super().__init__(format="A4", unit="mm")
        self._tree = _Tree()
        self.struct_builder = self._tree
        self._open = [self._tree.doc_struct_elem]
        self.core_fonts_encoding = ENCODING
        self.set_creation_date(NO_MOMENT)
        self.set_title(title)
        self.set_lang("en")
        self.set_creator("Twinport")
        self.set_producer("Twinport")
        self.set_compression(True)

    @contextmanager
    def group(self, kind: str) -> Iterator[None]:
        """A table, a row, a list."""
        element = self._element(kind, [])
        self._open.append(element)
        yield
        self._open.pop()

    @contextmanager
    def tagged(self, kind: str) -> Iterator[None]:
        """Text of one kind. It must not run over the end of the page."""
        number = self._tree.next_mcid_for_page(self.page)
        element = self._element(kind, [number])
        spid = self._tree.spid_per_page_number[self.page]
        self._tree.struct_tree_root.parent_tree.nums[spid].append(element)
        self.pages[self.page].struct_parents = spid
        self._set_min_pdf_version("1.4")
        start = self.page
        self._out(f"/{kind} <</MCID {number}>> BDC")
        yield
        assert self.page == start, "tagged text ran over the end of its page"
        self._out("EMC")

    @contextmanager
    def artifact(self) -> Iterator[None]:
        """What repeats on every page and is not read: lines, page numbers."""
        self._out("/Artifact BMC")
        yield
        self._out("EMC")

    def _element(self, kind: str, kids: list[int]) -> StructElem:
        parent = self._open[-1]
        element = StructElem(f"/{kind}", parent, kids, page_number=self.page)
        element.pg = self.pages[self.page]  # type: ignore[assignment] # fpdf2 sets it so too
        parent.k.append(element)
        return element


def plain(text: str) -> str:
    """As the fonts can write it; what they have no sign for becomes a question mark."""
    for sign, words in _REPLACED.items():
        text = text.replace(sign, words)
    return text.encode(ENCODING, "replace").decode(ENCODING)
