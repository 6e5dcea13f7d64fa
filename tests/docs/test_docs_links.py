"""No link leads nowhere, and no page is out of reach."""

import posixpath
from functools import cache

import pytest
from docs_pages import ROOT, anchors, links, pages, read

INDEX = "docs/README.md"


def _target(page: str, link: str) -> tuple[str, str]:
    """(file from the root, anchor) of a relative link."""
    path, _, anchor = link.partition("#")
    if not path:
        return page, anchor
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path)), anchor


def _relative(page: str) -> list[str]:
    return [link for link in links(page) if "://" not in link and not link.startswith("mailto:")]


def _broken(page: str, link: str) -> str | None:
    file, anchor = _target(page, link)
    if file.startswith(".."):
        return "leads out of the repository"
    if not (ROOT / file).exists():
        return "no such file"
    if anchor and anchor not in _anchors(file):
        return "no such heading"
    return None


@cache
def _anchors(page: str) -> set[str]:
    return anchors(page) if page.endswith(".md") else set()


@pytest.mark.parametrize("page", pages())
def test_every_relative_link_leads_somewhere(page: str) -> None:
    broken = {link: why for link in _relative(page) if (why := _broken(page, link))}
    assert not broken


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, todo = {INDEX}, [INDEX]
    while todo:
        page = todo.pop()
        files = {_target(page, link)[0] for link in _relative(page)}
        fresh = {f for f in files if f.startswith("docs/") and f.endswith(".md")} - reached
        reached |= fresh
        todo += sorted(fresh)
    assert not {page for page in pages() if page.startswith("docs/")} - reached


def test_the_index_names_every_page_with_a_line_about_it() -> None:
    named = {_target(INDEX, link)[0] for link in _relative(INDEX)}
    top = {page for page in pages() if page.startswith("docs/") and page.count("/") == 1}
    assert top - {INDEX} <= named


def test_addresses_of_others_are_encrypted_or_local() -> None:
    plain = {
        f"{page}: {link}"
        for page in pages()
        for link in links(page)
        if link.startswith("http://") and "127.0.0.1" not in link
    }
    assert not plain


def test_no_page_tells_where_it_was_written() -> None:
    """Paths of one machine and addresses of private package hosts help nobody."""
    for page in pages():
        assert "/home/" not in read(page).replace("/home/nonroot", ""), page
