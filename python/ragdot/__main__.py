"""python -m ragdot, and the script of that name: the ragdot command of the wheel (docs/cli.md)."""

import os
import sys

from ragdot._library import environment_tbb, installed


def main() -> None:
    """Becomes the command."""
    try:
        command, environment = str(installed("bin/ragdot")), dict(os.environ)
    except ImportError as error:
        sys.exit(f"{error}; a build with RAGDOT_CLI=OFF has no command")
    if tbb := environment_tbb():
        environment["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, [str(tbb.parent), environment.get("LD_LIBRARY_PATH")]))
    os.execve(command, [command, *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
