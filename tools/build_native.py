"""Compiles what is written in C, where there is a C compiler: part of every installation.

Without one Twinport does the same, and reads files of lines at half the speed.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = (Path("privacy/_apart.c"), Path("privacy/_contents.c"))
TAG = "cp311-abi3"  # one build for 3.11 and all later ones


def build(source: Path, out: Path) -> str:
    """Compile into `out`; says why there is nothing there, and nothing if there is."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    headers = Path(sysconfig.get_path("include"))
    if shutil.which(compiler[0]) is None:
        return "there is no C compiler"
    if not (headers / "Python.h").exists():
        return "Python's headers are missing (Debian: python3-dev)"
    made = subprocess.run(  # noqa: S603 - the compiler that Python itself was built with, or CC
        [*compiler, *_flags(source), f"-I{headers}", str(source), "-o", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if made.returncode == 0 else f"the compiler said: {made.stderr.strip()[:500]}"


def _flags(source: Path) -> list[str]:
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    mac = sys.platform == "darwin"
    linked = ["-bundle", "-undefined", "dynamic_lookup"] if mac else ["-shared"]
    return ["-O3", "-Wall", "-Wextra", "-fPIC", f'-DSOURCE="{digest}"', *linked]


class NativeHook(BuildHookInterface):  # type: ignore[misc]
    """Called by hatchling before it packs a wheel, or links this folder into an environment."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """All of it, or nothing."""
        built = {source: source.with_suffix(".abi3.so") for source in SOURCES}
        root = Path(self.root)
        problems = [build(root / source, root / out) for source, out in built.items()]
        problem = next(filter(None, problems), "")
        if problem:
            for out in built.values():
                (root / out).unlink(missing_ok=True)
            self.app.display_warning(f"Files of lines will be read at half the speed: {problem}.")
        elif version != "editable":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data |= {"pure_python": False, "tag": f"{TAG}-{platform}"}
            build_data["artifacts"] += [str(out) for out in built.values()]
