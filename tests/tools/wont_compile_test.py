#!/usr/bin/env python3
"""Checks that each misuse in tests/wont_compile is refused by the compiler, in words that help.

usage: wont_compile_test.py BUILD CASE.cc…

A case is compiled as the examples in the folder BUILD are, twice: as it is it must be refused, and what the compiler
says must match each of its lines `// expect: REGEX`; with CONTROL defined it must compile (all of them do so together),
so that nothing but the misuse can be why it was refused.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

TIMEOUT_S = 120
TOGETHER = 2
ROOT = pathlib.Path(__file__).resolve().parents[2]
HEADER = 'tests/wont_compile/case.h'
EXPECT = re.compile(r'^// expect: (.+)$', re.M)


def compiler_of(build):
    """The build's compiler with its flags, but for those that name files or ask for debug information."""
    commands = json.loads((build / 'compile_commands.json').read_text(encoding='utf-8'))
    entry = next(c for c in commands if c['file'].endswith('examples/ping_pong.cc'))
    words = iter(shlex.split(entry['command']))
    kept = []
    for word in words:
        if word in ('-o', '-MF', '-MQ'):
            next(words)
        elif word not in ('-c', '-MD', entry['file']) and not word.startswith('-g') and not word.endswith('ccache'):
            kept.append(word)
    return [*kept, f'-I{ROOT}', '-fdiagnostics-color=never']


class Check:
    def __init__(self, build, scratch):
        self.build = build
        self.compiler = compiler_of(build)
        self.header = pathlib.Path(scratch) / 'case.h'
        self.header.write_text(f'#include "{HEADER}"\n', encoding='utf-8')
        made = self.run('-x', 'c++-header', self.header, '-o', f'{self.header}.gch')  # found by -include
        if made.returncode:
            raise RuntimeError(f'{HEADER} does not compile:\n{made.stdout}')

    def run(self, *arguments):
        return subprocess.run([*self.compiler, *arguments], cwd=self.build, env=dict(os.environ, LC_ALL='C'), text=True,
                              errors='replace', stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S,
                              check=False)

    def compile(self, case, *arguments):
        return self.run('-include', self.header, '-fsyntax-only', *arguments, case)

    def controls(self, cases):
        together = self.header.with_name('controls.cc')
        together.write_text('#define CONTROL\n' + ''.join(
            f'namespace {case.stem} {{\n#include "{case}"\n}}\n' for case in cases), encoding='utf-8')
        made = self.compile(together)
        return f'with CONTROL they do not all compile:\n{made.stdout}' if made.returncode else ''

    def faults(self, case):
        wanted = EXPECT.findall(case.read_text(encoding='utf-8'))
        if not wanted:
            return f'{case.name}: no line `// expect: REGEX`'
        refused = self.compile(case)
        if not refused.returncode:
            return f'{case.name}: compiles'
        missing = [regex for regex in wanted if not re.search(regex, refused.stdout)]
        return f'{case.name}: is refused without saying {missing}:\n{refused.stdout}' if missing else ''


def main(build, *names):
    cases = [pathlib.Path(name).resolve() for name in names]
    with tempfile.TemporaryDirectory() as scratch:
        check = Check(pathlib.Path(build).resolve(), scratch)
        with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
            controls = pool.submit(check.controls, cases)
            faults = [fault for fault in [*pool.map(check.faults, cases), controls.result()] if fault]
    print('\n'.join([*faults, f'{len(cases)} cases, {len(faults)} faults']))
    return 1 if faults or not cases else 0


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
