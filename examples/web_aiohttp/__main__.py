"""Starts the app: ``python -m web_aiohttp --help``, in the directory ``examples``."""

from aiohttp import web

from web_aiohttp.app import create_app
from web_common.storage import open_storage, parse_arguments

if __name__ == "__main__":
    settings = parse_arguments("web_aiohttp")
    web.run_app(
        create_app(open_storage(settings), redirect=settings.redirect),
        host=settings.host,
        port=settings.port,
    )
