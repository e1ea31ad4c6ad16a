#!/usr/bin/env python3
"""Expects the sanitizers to report the mistakes planted in planted_race.cc and planted_overflow.cc.

usage: planted_test.py EXECUTABLE        with EK_TEST_BUILD, the set-up, in the environment

The race is expected in a tsan build, the overflows in an asan build; elsewhere exit status 77: left out.
"""

import os
import pathlib
import re
import subprocess
import sys

TIMEOUT_S = 120
# executable: (set-up, arguments, what the report must say)
PLANTED = {
    'planted_race': ('tsan', [[]], [r'WARNING: ThreadSanitizer: data race', r'planted_counter|planted_race\.cc']),
    'planted_overflow': (
        'asan',
        [['heap'], ['stack']],
        [r'ERROR: AddressSanitizer: (heap|stack)-buffer-overflow', r'planted_write'],
    ),
}


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    executable = pathlib.Path(sys.argv[1]).resolve()
    setup, runs, expected = PLANTED[executable.name]
    if os.environ.get('EK_TEST_BUILD') != setup:
        print(f'{executable.name}: reported in a {setup} build only')
        return 77
    failed = 0
    for arguments in runs:
        name = ' '.join([executable.name, *arguments])
        ended = subprocess.run([executable, *arguments], capture_output=True, text=True, errors='replace',
                               timeout=TIMEOUT_S)
        output = ended.stdout + ended.stderr
        missing = [pattern for pattern in expected if not re.search(pattern, output)]
        kind = re.search(r'(heap|stack)-buffer-overflow', output)
        if arguments and kind and kind[1] != arguments[0]:
            missing.append(f'{arguments[0]}-buffer-overflow')
        if missing or ended.returncode == 0:
            failed += 1
            print(f'{name}: exit status {ended.returncode}; its output lacks {missing}:\n{output}')
        else:
            print(f'{name}: reported')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
