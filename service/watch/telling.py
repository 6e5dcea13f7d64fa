"""Tells a configured address that results no longer hold: which model, why, and what was done.

A notice is written down in the database with the audit of what it tells of, and sent until it is
taken. It holds the twin's pseudonym and codes; whose twin it is, only who may ask can find out.
"""

import hashlib
import hmac

import orjson
import requests
import structlog

from service.pipeline.runtime import Runtime
from service.stores.watches import Notice, NoticeStore

SIGNATURE = "X-Twinport-Signature"
SECONDS = 10
MOST_TRIES = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 6 * 3600.0
_log = structlog.get_logger(__name__)


class Teller:
    def __init__(self, runtime: Runtime) -> None:
        self._config = runtime.config.watch
        self._store = NoticeStore(runtime.database)

    def send(self, limit: int) -> int:
        """How many were taken."""
        if not self._config.tell_url:
            return 0
        return sum(self._one(notice) for notice in self._store.claim(limit, _pause))

    def _one(self, notice: Notice) -> bool:
        body = orjson.dumps({"id": notice.seq, **notice.content}, option=orjson.OPT_SORT_KEYS)
        headers = {"Content-Type": "application/json"}
        if self._config.tell_secret:
            key = self._config.tell_secret.encode()
            headers[SIGNATURE] = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
        if self._taken(body, headers):
            self._store.taken(notice.seq)
            return True
        if notice.tries >= MOST_TRIES:
            _log.error("watch.notice-given-up", notice=notice.seq)
            self._store.taken(notice.seq)
        return False

    def _taken(self, body: bytes, headers: dict[str, str]) -> bool:
        try:
            answer = requests.post(
                self._config.tell_url, data=body, headers=headers, timeout=SECONDS,
                allow_redirects=False,
            )  # fmt: skip
        except requests.RequestException as error:
            _log.warning("watch.notice-not-taken", error=type(error).__name__)
            return False
        return answer.ok


def _pause(tries: int) -> float:
    return float(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (tries - 1)))
