#!/usr/bin/env python3
"""Checks what the compiler does not: the layering, and that every file is used, stands alone and keeps the habits.

usage: tools/tidy.py [--no-compile] [--root FOLDER]

  include    a layer includes downward only, and another layer's inside only through its door
  compile    every header of a layer compiles alone (left out by --no-compile)
  unused     every .cc and .S is named in a meson.build, every .h is included by something
  tag        an [ordering-tag] in a layer's // comments stands on at least two lines: both ends name each other
  layout     no trailing whitespace, no tabs, no line over 120 columns
  cite       a rule named as SEMANTICS 3.8, or in a test's name as Rule_3_8_…, stands in docs/semantics.md; no comment
             and no page cites a document that is not in the tree
  ambient    clocks, threads and randomness come from base and sched, so that tests and simulation can rule them

Prints `file:line: what` for each fault; exit status 1 if there is any.
"""

import argparse
import concurrent.futures
import itertools
import os
import pathlib
import re
import subprocess
import sys

RANK = {'base': 0, 'sched': 1, 'gc': 1, 'io': 2, 'runtime': 3, 'net': 4}
DOORS = {layer: f'{layer}/{layer}.h' for layer in ('sched', 'gc', 'io')}  # once it exists; base is vocabulary
CPP = ('.h', '.cc', '.S')
# What is only stripped of trailing whitespace; the C++ files and scripts also keep the line length.
OTHER_TEXT = ('.erl', '.go', '.html', '.md', '.txt', '.json', '.yml')
LINE_LENGTH = 120
AMBIENT = [
    (re.compile(r'\b\w+_clock\s*::\s*now\b'), 'reads a clock: use base/clock.h'),
    (re.compile(r'\b(clock_gettime|gettimeofday)\s*\('), 'reads a clock: use base/clock.h'),
    (re.compile(r'\bstd\s*::\s*(thread|jthread)\b(?!\s*::)'), 'starts a thread: only sched does'),
    (re.compile(r'\bstd\s*::\s*async\b|\bpthread_create\b'), 'starts a thread: only sched does'),
    (re.compile(r'\bstd\s*::\s*random_device\b|(?<![\w.>])s?rand\s*\('), 'draws randomness: use base/random.h'),
]
AMBIENT_FREE = ('base', 'sched', 'tests', 'perf', 'tools')  # the two that own them, and what is no part of the library

RULES = 'docs/semantics.md'
RULE = re.compile(r'^(?:\*\*(\d+\.\d+)\*\* |## (\d+)\. )', re.M)
CITED = re.compile(r'\bSEMANTICS\b((?:,? (?:and )?§?\d+(?:\.\d+)?(?:–\d+)?)*)')
CITED_BY_TEST = re.compile(r'\bRule_(\d+(?:_\d+)?)_')
ABSENT = re.compile(r'\b(?:PROTOCOL(?:_VARIANT)?|HOTPATH|RISKS|PEERS|ARCHITECTURE\.md)\b')

# The ratchet: a file that may break a rule, (rule, path) to the reason. Lines leave this table; they do not join it
# without a reason that a reviewer would accept.
EXEMPT = {}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
TAG = re.compile(r'(?<![\w\[\])])\[([a-z][a-z0-9]*(?:-[a-z0-9]+)*)\](?![\](\w])')
NOT_CODE = re.compile(r'''//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<!\w)'(?:\\.|[^'\\\n])+''', re.S)
NOT_TAGS = {'nodiscard', 'maybe_unused', 'likely', 'unlikely', 'noreturn', 'this'}  # C++ spelt in prose


class Tree:
    def __init__(self, root):
        self.root = root
        self.faults = []
        self.paths = self.find_paths()
        self.known = set(self.paths)
        self.cpp = [p for p in self.paths if p.endswith(CPP)]
        self.texts = {}

    def find_paths(self):
        """What git tracks or would track; without git, everything but hidden folders and build/."""
        command = ['git', '-C', self.root, 'ls-files', '-z', '--cached', '--others', '--exclude-standard']
        listed = subprocess.run(command, capture_output=True, text=True, check=False)
        if listed.returncode == 0:
            paths = listed.stdout.split('\0')
        else:
            paths = []
            for folder, folders, files in os.walk(self.root):
                folders[:] = [f for f in folders if not f.startswith('.') and f != 'build']
                paths += [os.path.relpath(os.path.join(folder, f), self.root) for f in files]
        return sorted({p for p in paths if p and (self.root / p).is_file()})

    def text(self, path):
        if path not in self.texts:
            self.texts[path] = (self.root / path).read_text(encoding='utf-8', errors='replace')
        return self.texts[path]

    def lines(self, path):
        return enumerate(self.text(path).split('\n'), 1)

    def fault(self, rule, path, line, what):
        if (rule, path) not in EXEMPT:
            self.faults.append((path, line, what))

    def included(self, path, quote, name):
        """The file of this tree that an #include names, or None. A public x.h is installed as <erlking/x.h>."""
        if name.startswith('erlking/'):
            return next((p for p in (f'{layer}/{name[8:]}' for layer in reversed(RANK)) if p in self.known), None)
        places = [name]
        if quote == '"':
            places.insert(0, os.path.normpath(os.path.join(os.path.dirname(path), name)))
        return next((p for p in places if p in self.known), None)


def layer_of(path):
    layer = path.split('/')[0]
    return layer if layer in RANK else None


def check_includes(tree):
    """Also: a header that nothing includes."""
    included = set()
    for path in tree.cpp:
        own = layer_of(path)
        for number, line in tree.lines(path):
            match = INCLUDE.match(line)
            if not match:
                continue
            target = tree.included(path, match[1], match[2])
            if target is None:
                continue
            if target != path:
                included.add(target)
            other = layer_of(target)
            if own is None or own == other:
                continue
            if other is None:
                tree.fault('include', path, number, f'{own} includes {target}, which is no part of the library')
            elif RANK[other] > RANK[own]:
                tree.fault('include', path, number, f'upward include: {own} knows nothing of {other}')
            elif RANK[other] == RANK[own]:
                tree.fault('include', path, number, f'sideways include: {own} and {other} are siblings')
            elif DOORS.get(other) in tree.known and target != DOORS[other]:
                tree.fault('include', path, number, f'{target} is inside {other}: include its door, {DOORS[other]}')
    for path in tree.cpp:
        if path.endswith('.h') and path not in included:
            tree.fault('unused', path, 1, 'nothing includes this header')


def check_built(tree):
    """A name in a meson.build may be put together from two quoted parts, or by '@0@…'.format()."""
    builds = []
    for path in tree.paths:
        if os.path.basename(path) == 'meson.build':
            strings = set(re.findall(r"'([^'\n]*)'", tree.text(path)))
            builds.append((os.path.dirname(path), strings))

    def named(path, folder, strings):
        relative = os.path.relpath(path, folder or '.')
        if relative in strings:
            return True
        if any(relative[:i] in strings and relative[i:] in strings for i in range(1, len(relative))):
            return True
        for form in strings:
            if '@0@' in form:
                parts = re.fullmatch('(.+)'.join(re.escape(p) for p in re.split('@[0-9]@', form)), relative)
                if parts and set(parts.groups()) <= strings:
                    return True
        return False

    for path in tree.cpp:
        if path.endswith(('.cc', '.S')) and not any(named(path, *build) for build in builds):
            tree.fault('unused', path, 1, 'no meson.build names this file')


def check_tags(tree):
    seen = {}
    for path in tree.cpp:
        if layer_of(path):
            for number, line in tree.lines(path):
                _, slashes, comment = line.partition('//')
                for tag in set(TAG.findall(comment)) if slashes else ():
                    if tag not in NOT_TAGS:
                        seen.setdefault(tag, []).append((path, number))
    for tag, places in seen.items():
        if len(places) == 1:
            tree.fault('tag', *places[0], f'[{tag}] stands nowhere else: which line is its other end?')


def check_layout(tree):
    for path in tree.paths:
        name = os.path.basename(path)
        is_code = path.endswith(CPP + ('.py',)) or name in ('meson.build', 'meson_options.txt') \
            or ('.' not in name and path.split('/')[0] in ('tools', '.ci'))
        if not is_code and not path.endswith(OTHER_TEXT):
            continue
        for number, line in tree.lines(path):
            if line != line.rstrip():
                tree.fault('layout', path, number, 'trailing whitespace')
            if is_code and '\t' in line:
                tree.fault('layout', path, number, 'tab')
            if is_code and len(line) > LINE_LENGTH:
                tree.fault('layout', path, number, f'{len(line)} columns; {LINE_LENGTH} at most')


def check_citations(tree):
    rules = {a or b for a, b in RULE.findall(tree.text(RULES))} if RULES in tree.known else set()
    for path in tree.paths:
        if not path.endswith(CPP + ('.md',)) or path == RULES:
            continue
        for number, line in tree.lines(path):
            words = line if path.endswith('.md') else line.partition('//')[2]
            for absent in ABSENT.findall(words):
                tree.fault('cite', path, number, f'{absent} is no document of this tree')
            cited = [rule.replace('_', '.') for rule in CITED_BY_TEST.findall(line)]
            for numbers in CITED.findall(words):
                cited += re.findall(r'\d+(?:\.\d+)?', numbers) or ['without a number']
            for rule in cited:
                if rule not in rules:
                    tree.fault('cite', path, number, f'rule {rule} is not in {RULES}')


def bare(text):
    """The code alone: comments and string literals blanked, lines kept."""
    return NOT_CODE.sub(lambda m: '\n' * m[0].count('\n') or ' ', text)


def check_ambient(tree):
    for path in tree.cpp:
        if path.split('/')[0] in AMBIENT_FREE:
            continue
        for number, line in enumerate(bare(tree.text(path)).split('\n'), 1):
            for pattern, what in AMBIENT:
                if pattern.search(line):
                    tree.fault('ambient', path, number, what)


def check_compile(tree):
    compiler = os.environ.get('CXX', 'g++')
    command = [compiler, '-std=c++23', '-fsyntax-only', '-I.', '-Wall', '-Wextra', '-Werror', '-x', 'c++', '-']
    headers = [p for p in tree.cpp if p.endswith('.h') and layer_of(p) and ('compile', p) not in EXEMPT]

    def compile_alone(path):
        # Through a file that includes it twice: also shows a missing #pragma once.
        source = f'#include "{path}"\n' * 2
        ran = subprocess.run(command, input=source, cwd=tree.root, capture_output=True, text=True, check=False)
        return path, ran

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for path, ran in pool.map(compile_alone, headers):
            if ran.returncode == 0:
                continue
            error = re.search(r'^([^\s:][^:\n]*):(\d+):(?:\d+:)? (?:fatal )?error: (.*)$', ran.stderr, re.M)
            if error and error[1] == path:
                tree.fault('compile', path, int(error[2]), f'does not compile alone: {error[3]}')
            else:
                what = f'{error[1]}:{error[2]}: {error[3]}' if error else ran.stderr.strip()[:200]
                tree.fault('compile', path, 1, f'does not compile alone: {what}')
    return len(headers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage='tools/tidy.py [--no-compile] [--root FOLDER]')
    parser.add_argument('--no-compile', action='store_true', help='do not compile the headers')
    parser.add_argument('--root', type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent,
                        help='the tree to check (default: this one)')
    arguments = parser.parse_args()

    tree = Tree(arguments.root.resolve())
    for check in (check_includes, check_built, check_tags, check_layout, check_citations, check_ambient):
        check(tree)
    compiled = 0 if arguments.no_compile else check_compile(tree)
    for (rule, path), _ in itertools.filterfalse(lambda entry: entry[0][1] in tree.known, EXEMPT.items()):
        tree.faults.append(('tools/tidy.py', 1, f'the exemption of {path} from {rule} is for no file'))
    for path, line, what in sorted(tree.faults):
        print(f'{path}:{line}: {what}')
    print(f'tidy: {len(tree.paths)} files, {compiled} headers compiled, {len(tree.faults)} faults', file=sys.stderr)
    return 1 if tree.faults else 0


if __name__ == '__main__':
    sys.exit(main())
