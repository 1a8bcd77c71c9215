"""What the checks of a GPU share: they run in turn, each with a line of its own."""

import time
import traceback
from collections.abc import Callable


class Failed(Exception):
    """A check did not hold."""


def run(checks: list[Callable[[], str]]) -> int:
    """The number of checks that failed."""
    failures = 0
    for check in checks:
        start = time.perf_counter()
        try:
            passed, text = True, check()
        except Failed as error:
            passed, text = False, str(error)
        except Exception:
            passed, text = False, traceback.format_exc()
        failures += not passed
        print(f"{'ok' if passed else 'FAILED':<7}{check.__name__.removeprefix('check_'):<13}{time.perf_counter() - start:5.1f} s  {text}", flush=True)
    return failures
