"""Makes the CMake files of the ROS 2 wheels name this machine's Python and numpy.

They name the folders of the machine that built the wheels, `/opt/python/cpXY-cpXY/...`. Run it
with the interpreter of the virtual environment, after each installation; doing so twice is harmless.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy


def main() -> None:
    headers = {
        r"include/python3\.\d+": sysconfig.get_path("include"),
        r"lib/python3\.\d+/site-packages/numpy/_core/include": numpy.get_include(),
    }
    for path in Path(sys.prefix, "share").glob("*/cmake/*.cmake"):
        old = path.read_bytes()
        new = old
        for tail, folder in headers.items():
            new = re.sub(rb"/opt/python/cp\d+-cp\d+/" + tail.encode(), folder.encode(), new)
        if new != old:
            # In one step, so that an interruption leaves no half-written file.
            partial = path.with_suffix(".partial")
            partial.write_bytes(new)
            partial.replace(path)


if __name__ == "__main__":
    main()
