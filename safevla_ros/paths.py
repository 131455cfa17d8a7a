"""Where the data that belongs to the package lies: config/, launch/, policies/ and sim/.

The same four folders stand in a source checkout, in `share/safevla_ros` of an ament installation
and in `share/safevla_ros` of an environment that pip installed into. All are found from where this
file lies, so no ROS is imported and no environment variable is needed.
"""

from functools import cache
from pathlib import Path

_PACKAGE = "safevla_ros"


@cache
def share_directory() -> Path:
    """The folder that holds config/, launch/, policies/ and sim/.

    Raises FileNotFoundError where the package was copied without its data.
    """
    # Not resolved: in a symlink installation the data lies beside the link, not beside its target.
    package = Path(__file__).absolute().parent
    if (package.parent / "package.xml").is_file():
        return package.parent
    for prefix in package.parents:
        share = prefix / "share" / _PACKAGE
        if (share / "config").is_dir():
            return share
    raise FileNotFoundError(
        f"{_PACKAGE} is installed in {package} without its data: no share/{_PACKAGE}/config was "
        "found in any folder above. Install it with pip, colcon or `make build`."
    )
