"""A link as a QR code, error correction M, as the standard asks."""

import io

import segno


def svg(text: str) -> bytes:
    """Without styles or scripts of its own, so that a strict page may hold it."""
    out = io.BytesIO()
    segno.make(text, error="m", boost_error=False, micro=False).save(
        out, kind="svg", xmldecl=False, svgns=True, omitsize=True, svgclass=None, lineclass=None
    )
    return out.getvalue()


def drawn(text: str) -> str:
    """For a terminal."""
    out = io.StringIO()
    segno.make(text, error="m", boost_error=False, micro=False).terminal(out, compact=True)
    return out.getvalue()
