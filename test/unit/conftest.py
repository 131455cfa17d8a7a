"""What lies beside this file can be imported by the tests of every part."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
