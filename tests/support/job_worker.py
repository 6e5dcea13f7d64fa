"""A process that works off the queue: ``job_worker.py URL LOG hang|finish``. Killed by a test."""

import sys
import threading
from pathlib import Path

import structlog
from aes_sealer import AesSealer

from service.config import Jobs
from service.jobs import JobRunner, Outcome, RunContext
from service.stores import open_database
from service.stores.runs import RunStore

# Standard output is for what the test reads.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
url, log, behaviour = sys.argv[1:]
finished = threading.Event()


def handle(context: RunContext) -> Outcome:
    sys.stdout.write(f"started {context.attempt}\n")
    sys.stdout.flush()
    if behaviour == "hang":
        threading.Event().wait()
    with Path(log).open("a") as file:
        file.write(f"finished {context.attempt}\n")
    finished.set()
    return Outcome(counts={"written": 1})


config = Jobs(workers=1, lease_seconds=1, poll_seconds=0.05)
runner = JobRunner(RunStore(open_database(url)), {"run": handle}, config, AesSealer())
runner.start()
finished.wait()
runner.stop()
