"""What others have published on npm, installed beside our scripts for it."""

import hashlib
import os
import shutil
from pathlib import Path

from support import npm

HERE = Path(__file__).parent
FILES = (
    "package.json",
    "package-lock.json",
    ".npmrc",
    "server.mjs",
    "validate.mjs",
    "receive.mjs",
    "give.mjs",
    "verify.mjs",
)


def installed() -> Path:
    """The packages, installed once for each content of the lock file."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "twinport-interop"
    digest = hashlib.sha256(b"".join((HERE / name).read_bytes() for name in FILES[:3])).hexdigest()
    folder = cache / digest[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        fresh = folder / f".{os.getpid()}-{name}"
        shutil.copyfile(HERE / name, fresh)
        fresh.replace(folder / name)  # never half a script, whoever else runs it
    npm.install(folder, (folder / "node_modules" / ".package-lock.json").exists)
    return folder
