"""An application for a real server: the real gate, auth, keys and database, made-up content."""

from flask import Flask
from web_support import InProcess

from service.app import create_app
from service.auth import Access
from service.config import load_config
from service.keys import KeyRing
from service.pages.site import pages
from service.stores import open_database, upgrade
from service.web.services import Services


def build() -> Flask:
    config = load_config()
    keys = KeyRing.open(config.keys_dir)
    database = open_database(config.database_url)
    upgrade(database.engine)
    access = Access.build(config, database, keys.session.material)
    behind = InProcess(database)
    return create_app(
        config,
        Services(
            behind,
            access,
            keys.jwks,
            start=lambda: behind.ready.update(queue=True),
            stop=database.close,
        ),
        pages=[pages],
    )
