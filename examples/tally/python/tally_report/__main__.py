"""tally FILE | python3 -m tally_report"""

import sys

from . import __version__
from .counts import BadCounts, Counts
from .table import render


def main(args):
    if args == ["--version"]:
        print(__version__)
        return 0
    try:
        print(render(Counts.parse(sys.stdin.read())))
    except BadCounts as error:
        print(f"tally_report: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main(sys.argv[1:]))
