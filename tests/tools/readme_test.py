#!/usr/bin/env python3
"""Checks that what README.md shows is true: its programs, its commands and their flags, its list of workloads.

usage: readme_test.py extract README NUMBER OUTPUT
           writes the NUMBERth (from 1) C++ block to OUTPUT, for the build to compile
       readme_test.py check README ERLKING PROGRAM=OUTPUT…
           runs the programs made of the blocks, in their order, each of which must print OUTPUT and end with status 0;
           ERLKING is the erlking executable

A flag in the text belongs to the command named before it. `--ek-…` flags are given to the first program.
"""

import pathlib
import re
import subprocess
import sys

TIMEOUT_S = 60
BLOCK = re.compile(r'^```(\w*)\n(.*?)^```$', re.M | re.S)
COMMAND = re.compile(r'(tools/\w+|erlking)(?:\s|$)')
FLAG = re.compile(r'--[a-z][a-z-]*')
SUBCOMMANDS = ('bench', 'demo')


def cpp_blocks(text):
    """(line, code) of each."""
    return [(text[:m.start(2)].count('\n') + 1, m[2]) for m in BLOCK.finditer(text) if m[1] == 'cpp']


def extract(readme, number, output):
    line, code = cpp_blocks(readme.read_text(encoding='utf-8'))[number - 1]
    pathlib.Path(output).write_text(f'#line {line} "{readme}"\n{code}', encoding='utf-8')


class Check:
    def __init__(self, readme, erlking):
        self.text = readme.read_text(encoding='utf-8')
        self.root = readme.parent
        self.erlking = erlking
        self.faults = []

    def expect(self, condition, what):
        if not condition:
            self.faults.append(what)

    def run(self, *command):
        try:
            return subprocess.run(command, capture_output=True, text=True, errors='replace', timeout=TIMEOUT_S,
                                  stdin=subprocess.DEVNULL, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return subprocess.CompletedProcess(command, -1, '', str(error))

    def check_programs(self, programs):
        blocks = cpp_blocks(self.text)
        self.expect(len(blocks) == len(programs), f'{len(blocks)} C++ blocks, of which {len(programs)} are compiled')
        self.expect(all('int main(' in code for _, code in blocks), 'a C++ block that is no whole program')
        for program, output in programs:
            self.expect_output([program], output)
        program, output = programs[0]
        for flag in sorted(set(re.findall(r'--ek-[a-z][a-z-]*(?:=\w+)?', self.text))):
            self.expect_output([program, flag], output)
        refused = self.run(program, '--ek-nonsense')
        self.expect(refused.returncode == 2, f'--ek-nonsense ends with {refused.returncode}: then any flag is accepted')

    def expect_output(self, command, output):
        ended = self.run(*command)
        self.expect(ended.returncode == 0 and ended.stdout == output + '\n',
                    f'{command} ends with {ended.returncode} and prints {ended.stdout!r}, not {output!r}\n'
                    f'{ended.stderr}')

    def commands(self):
        """command, as words, to the flags README gives it: from code spans and indented blocks, as they come."""
        named = {}
        current = None
        for span in re.findall(r'`([^`\n]+)`|^    (.*)$', BLOCK.sub('', self.text), re.M):
            words = ''.join(span).split('#')[0].split()
            if not words:
                continue
            if COMMAND.match(words[0]):
                current = tuple(words[:2] if words[1:] and words[1] in SUBCOMMANDS else words[:1])
                named.setdefault(current, set())
            elif not FLAG.match(words[0]):
                continue
            flags = {flag for word in words for flag in FLAG.findall(word) if not word.startswith('--ek-')}
            if flags:
                self.expect(current is not None, f'{flags} before any command')
                named.setdefault(current, set()).update(flags)
        return named

    def check_commands(self):
        named = self.commands()
        self.expect(('tools/run',) in named and ('tools/test',) in named, f'finds only {sorted(named)}')
        for command, flags in sorted(named.items()):
            path = self.root / command[0]
            if command[0].startswith('tools/'):
                self.expect(path.is_file() and path.stat().st_mode & 0o111, f'{command[0]} cannot be run')
            if path.name == 'erlking':  # the script would compile another
                path = self.erlking
            ended = self.run(path, *command[1:], '--help')
            self.expect(ended.returncode == 0, f'{" ".join(command)} --help ends with {ended.returncode}')
            for flag in flags - {'--help'}:
                self.expect(re.search(rf'{flag}(?![\w-])', ended.stdout), f'{" ".join(command)} --help lacks {flag}')

    def check_workloads(self):
        table = re.search(r'^\| workload \|.*\n\|[-| ]+\n((?:\|.*\n)+)', self.text, re.M)
        self.expect(table, 'no table of workloads')
        if not table:
            return
        shown = {name for row in table[1].splitlines() for name in re.findall(r'`([^`]+)`', row.split('|')[1])}
        told = self.run(self.erlking, 'bench', '--help').stdout
        listed = re.search(r'^Workloads:\n((?:  .*\n)+)', told, re.M)
        known = set(re.findall(r'^  ([\w-]+) ', listed[1], re.M)) if listed else set()
        self.expect(shown == known, f'README shows the workloads {sorted(shown)}, erlking bench knows {sorted(known)}')


def main(arguments):
    if len(arguments) == 4 and arguments[0] == 'extract':
        extract(pathlib.Path(arguments[1]).resolve(), int(arguments[2]), arguments[3])
        return 0
    if len(arguments) < 4 or arguments[0] != 'check':
        print(__doc__, file=sys.stderr)
        return 2
    check = Check(pathlib.Path(arguments[1]).resolve(), arguments[2])
    check.check_programs([argument.split('=', 1) for argument in arguments[3:]])
    check.check_commands()
    check.check_workloads()
    for fault in check.faults:
        print(f'README.md: {fault}')
    return 1 if check.faults else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
