"""The blueprint all modules of the API hang their routes on."""

from flask import Blueprint

api = Blueprint("api", __name__, url_prefix="/api/v1")
