"""The OpenAPI document of the repository. To rewrite it: python -m tests.support.web.openapi_document."""

import json

from tests.support.paths import REPOSITORY

FILE = REPOSITORY / "docs" / "reference" / "openapi.json"


def current() -> str:
    """Return the document of the current service."""
    from storage.url import resolve
    from sweeps.contrib.server.app import make_app

    app = make_app(resolve("sqlite:///none.db"), with_dashboard=False)
    return json.dumps(app.openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(current(), encoding="utf-8")
