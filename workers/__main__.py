"""`python -m workers`: a worker process that can take any payment over. Start as many as there are cores."""

import gc
import sys


def main() -> int:
    gc.disable()  # until it works: a sixth of the start would go into walks over modules that stay
    from workers.serve import serve

    return serve()


if __name__ == "__main__":
    sys.exit(main())
