"""Starts the app: ``python -m web_starlette --help``, in the directory ``examples``."""

import uvicorn

from web_common.storage import open_storage, parse_arguments
from web_starlette.app import create_app

if __name__ == "__main__":
    settings = parse_arguments("web_starlette")
    uvicorn.run(
        create_app(open_storage(settings), redirect=settings.redirect),
        host=settings.host,
        port=settings.port,
    )
