"""The house rules: who may import whom, which room does no I/O, what each says of itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("mappings", "privacy", "twin_engine", "service")
PURE_ROOMS = ("mappings", "privacy", "twin_engine")

# What a pure room may not touch: the network, processes, the database, the environment.
FORBIDDEN_MODULES = {
    "asyncio", "flask", "ftplib", "http", "multiprocessing", "os", "psycopg", "requests",
    "shutil", "smtplib", "socket", "socketserver", "sqlalchemy", "sqlite3", "subprocess",
    "tempfile", "urllib3", "webbrowser",
}  # fmt: skip
FORBIDDEN_CALLS = {"open", "input", "print", "exec", "eval"}

# Files whose job is to (re)generate a packaged table or page from the command line; the running
# service never imports them.
TOOLS = {"derive.py", "docs.py", "__main__.py"}

# One exception, with its reason: the de-identifier turns a policy into plain Python, from the
# published names of elements and its own text alone; no value of a record ever becomes code.
ALLOWED_CALLS: dict[str, set[str]] = {"privacy/plans.py": {"exec"}}


def python_files(room: str) -> list[Path]:
    return sorted(p for p in (ROOT / room).rglob("*.py") if p.name not in TOOLS)


def imported_modules(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def called_names(tree: ast.AST) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def test_import_contracts_hold() -> None:
    run = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_rooms_do_no_io(room: str) -> None:
    offences = []
    for path in python_files(room):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = str(path.relative_to(ROOT))
        offences += [f"{name} imports {m}" for m in imported_modules(tree) & FORBIDDEN_MODULES]
        calls = called_names(tree) & FORBIDDEN_CALLS - ALLOWED_CALLS.get(name, set())
        offences += [f"{name} calls {c}()" for c in calls]
    assert offences == []


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_says_in_four_lines_what_may_not_happen_in_it(room: str) -> None:
    lines = (ROOT / room / "README.md").read_text(encoding="utf-8").strip().splitlines()
    assert 2 <= len([line for line in lines if line.strip()]) <= 5
    assert "not" in " ".join(lines).lower()


def test_no_machine_paths_or_registry_hosts_in_the_repository() -> None:
    # Spelled in two halves, so that this file does not offend against itself.
    halves = [("/wo", "rk/"), ("/ro", "ot/"), ("pypi", ".org"), ("files.python", "hosted")]
    halves += [("registry.npm", "js")]
    words = [first + second for first, second in halves]
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    offences = []
    for name in filter(None, files):
        path = ROOT / name
        if not path.is_file():
            continue  # staged for deletion
        data = path.read_bytes()
        offences += [f"{name}: {word}" for word in words if word.encode() in data]
    assert offences == []
