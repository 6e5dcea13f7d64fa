"""A service process without a web: ``service_worker.py SERVER PATIENT``. Killed by a test.

It queues one run, says its id, and works until it is killed.
"""

import sys
import threading

from service.auth import Principal, Role
from service.auth.principals import Kind
from service.pipeline.runtime import open_runtime
from service.pipeline.service import Service
from service.web.ports import RunRequest

server, patient = sys.argv[1:]
service = Service(open_runtime())
caller = Principal(Role.EHR, frozenset(), "test", Kind.API_KEY)
sys.stdout.write(service.enqueue(RunRequest(server, patient), caller) + "\n")
sys.stdout.flush()
service.start_workers()
threading.Event().wait()
