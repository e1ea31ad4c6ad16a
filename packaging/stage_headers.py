#!/usr/bin/env python3
"""Writes the headers as they are installed: the umbrella header and all that it includes, under one folder `erlking`.

usage: stage_headers.py ROOT UMBRELLA OUTPUT DEPFILE

Here they include each other by their paths from ROOT, as "runtime/pid.h". A program that uses them may have a runtime/
of its own, so they are written with #include <erlking/runtime/pid.h>: the folder above OUTPUT is all a compiler needs
to know, and neither side can meet the other's files. DEPFILE tells ninja which headers were read.
"""

import pathlib
import re
import shutil
import sys

INCLUDE = re.compile(r'^(#include )"([^"]+)"', re.M)


def stage(root, umbrella, output, depfile):
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    seen = [umbrella]
    for path in seen:  # grows
        text = (root / path).read_text(encoding='utf-8')
        seen += [name for _, name in dict.fromkeys(INCLUDE.findall(text)) if name not in seen]
        target = output / (pathlib.PurePath(path).name if path == umbrella else path)
        target.parent.mkdir(exist_ok=True)
        target.write_text(INCLUDE.sub(r'\1<erlking/\2>', text), encoding='utf-8')
    depfile.write_text(f'{output}: ' + ' '.join(str(root / path) for path in seen) + '\n', encoding='utf-8')


if __name__ == '__main__':
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    stage(pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4]))
