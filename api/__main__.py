"""`python -m api`: the HTTP API, in one process or, with PAYSAGA_API_PROCESSES, in several on one port."""

import sys

from pydantic import ValidationError

from config.settings import Settings, unusable
from runtime import collector
from runtime.logs import configure_logs
from runtime.metrics import shared_metrics


def main() -> int:
    collector.begin()
    try:
        settings = Settings()
    except ValidationError as error:
        print(*unusable(error), sep="\n", file=sys.stderr)  # noqa: T201
        return 2
    configure_logs(settings.log_level, settings.log_format)
    if settings.api_processes == 1:
        from api.serve import serve

        return serve(settings)
    with shared_metrics():
        from api.processes import serve_together  # it imports what has metrics

        return serve_together(settings)


if __name__ == "__main__":
    sys.exit(main())
