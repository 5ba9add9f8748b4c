"""`python -m workers`: a worker process that can take any payment over. Start as many as there are cores."""

import sys

from runtime import collector


def main() -> int:
    collector.begin()
    from workers.serve import serve

    return serve()


if __name__ == "__main__":
    sys.exit(main())
