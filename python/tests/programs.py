"""Programs in an interpreter of their own."""

import os
import subprocess
import sys


def printed_by(program: str, **variables: str) -> str:
    """What a program prints that finds the packages of this interpreter, with these variables in its environment."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment).stdout
