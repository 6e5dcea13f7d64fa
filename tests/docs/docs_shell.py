"""Runs the `sh` blocks of one page as a reader would: one shell, top to bottom, in an empty home.

Pages write the ports that Twinport has by default. The runner moves both to free ones, so that a
page runs beside anything else. A command that stays running ends its block with `&`; the next
block starts when it answers.
"""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from docs_pages import ROOT, Block

SERVICE, SANDBOX = "8080", "8090"
MARK = "\x1e"
SECONDS = 900  # whoever takes longer hangs
_ANSWERS = {
    "twinport serve": f"http://127.0.0.1:{SERVICE}/readyz",
    "twinport sandbox": f"http://127.0.0.1:{SANDBOX}/fhir/metadata",
}


class PageFailedError(AssertionError):
    """A command of a page ended badly; says which block and shows what it printed."""


PROGRAMS = ROOT / ".venv" / "bin"


def run_page(blocks: list[Block], folder: Path, programs: Path = PROGRAMS) -> dict[int, str]:
    """What each block printed, by its line. Raises where a command fails."""
    ports = {SERVICE: str(_free_port()), SANDBOX: str(_free_port())}
    script = "".join(_part(block) for block in blocks)
    for usual, free in ports.items():
        script = re.sub(rf"\b{usual}\b", free, script)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    code, said = _run(script, folder, environment(folder, ports, programs))
    printed = dict(_split(said))
    if code:
        last = max(printed, default=0)
        raise PageFailedError(
            f"{blocks[0].page}: the block at line {last} ended with {code}\n{printed.get(last, '')}"
        )
    return printed


def _part(block: Block) -> str:
    """Mark, commands, and the wait for what was started."""
    text = re.sub(
        r"\btwinport sandbox(?= *(&|#|$))",
        f"twinport sandbox --port {SANDBOX}",
        block.text,
        flags=re.M,
    )
    waits = "".join(_wait(command) for command in _ANSWERS if _stays(block.text, command))
    return f"printf '{MARK}%s\\n' {block.line}\n{text}{waits}"


def _stays(text: str, command: str) -> bool:
    return re.search(rf"^{command}\b.*&\s*(#.*)?$", text, re.M) is not None


def _wait(command: str) -> str:
    """curl's own retries wait longer every time, on and on after it would be answered."""
    ask = f"curl --fail --silent --output /dev/null {_ANSWERS[command]}"
    return f"timeout 60 bash -c 'until {ask}; do sleep 0.1; done'\n"


def environment(
    folder: Path, ports: Mapping[str, str], programs: Path = PROGRAMS
) -> dict[str, str]:
    """Nothing of whoever runs the tests, but where programs are."""
    return {
        "PATH": f"{programs}:{PROGRAMS}:{os.environ['PATH']}",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder),
        "LANG": "C.UTF-8",
        "TWINPORT_WEB__PORT": ports[SERVICE],
    }


def _run(script: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    (folder / "home").mkdir()
    (folder / "page.sh").write_text(script, "utf-8")
    output = folder / "output"
    with output.open("wb") as sink:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "page.sh"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
        try:
            code = shell.wait(SECONDS)
        finally:
            _stop(shell)
    return code, output.read_text("utf-8", errors="replace")


def _stop(shell: "subprocess.Popen[bytes]") -> None:
    """Everything a page started ends with it."""
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        shell.wait(5)
    _await_group(shell.pid)


def _await_group(group: int) -> None:
    end = time.monotonic() + 15
    with suppress(ProcessLookupError):
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)


def _split(said: str) -> Iterator[tuple[int, str]]:
    for part in said.split(MARK)[1:]:
        line, _, text = part.partition("\n")
        yield int(line), text


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing(expected: str, printed: str) -> list[str]:
    """Lines of a page's output that were not printed, in order. `…` stands for anything."""
    said = iter(" ".join(line.split()) for line in printed.splitlines())
    return [line for line in expected.splitlines() if line.strip() and not _seen(line, said)]


def _seen(line: str, said: Iterator[str]) -> bool:
    pattern = re.escape(" ".join(line.split())).replace("…", ".*")
    return any(re.fullmatch(pattern, candidate) for candidate in said)
