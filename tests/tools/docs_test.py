#!/usr/bin/env python3
"""Checks that what README.md and docs/ show is true: their C++, its output, their commands and flags, their links.

usage: docs_test.py extract PAGE OUTPUT         writes the page's C++ as one program, for the build to compile
       docs_test.py check ERLKING PAGE[=PROGRAM]…
           runs what is in each PROGRAM; ERLKING is the erlking executable

C++ in a page is one of three:

    ```cpp        with a main: a program, run as it stands; it ends with status 0
    ```cpp        without: the body of a process, under a manual clock that is hurried along; it ends normally
    ```cpp top    declarations, for what follows on the page

A block of `text` that comes right after says exactly what it prints. What a reader need not see stands before the block
in a comment, `<!-- cpp … -->` (its first statements) or `<!-- cpp top … -->`; `<!-- ends: REASON -->` there says that
it ends otherwise.

A flag in the text belongs to the command named before it on the page. `--ek-…` flags are given to README.md's program.
"""

import dataclasses
import pathlib
import re
import subprocess
import sys

TIMEOUT_S = 60
FENCE = re.compile(r'^```([^\n`]*)\n(.*?)^```$', re.M | re.S)
PART = re.compile(r'^<!-- (cpp|cpp top|ends: [^\n]*?)(?: -->|\n(.*?)^-->)$|^```([^\n`]*)\n(.*?)^```$', re.M | re.S)
COMMAND = re.compile(r'(tools/\w+|erlking)(?:\s|$)')
FLAG = re.compile(r'--[a-z][a-z-]*')
LINK = re.compile(r'\]\(([^)\s]+)\)')
SUBCOMMANDS = ('bench', 'demo', 'tree', 'memory', 'flight')

HEAD = '''\
#include <erlking/erlking.h>

#include <atomic>
#include <cstdio>
#include <string>
'''
USING = '''\
using namespace erlking;
using namespace std::chrono_literals;
'''
RUN = '''\
namespace {
// Runs it as a process; time passes as fast as it can.
[[maybe_unused]] int run_body(void (*body)(), int argc, char** argv) {
  using namespace erlking;
  using namespace std::chrono_literals;
  Options options = Options::from(argc, argv);
  options.clock = ClockKind::manual;
  Runtime runtime(options);
  std::string why;
  std::atomic<bool> over = false;
  const auto watcher = runtime.spawn([&] {
    const MonitorRef ref = spawn_monitor(body).ref;
    receive(forever, when([&](const Down& down) { return down.ref == ref; },
                          [&](Down down) { why = down.reason.to_string(); }));
    over = true;
  });
  if (!watcher) return 3;
  for (int i = 0; i < 10'000 && !over; ++i) runtime.advance(100ms);
  std::fflush(stdout);
  if (!over) why = "it does not end";
  if (why == "normal") return 0;
  std::fprintf(stderr, "ends: %s\\n", why.c_str());
  return 1;
}
}  // namespace
'''


@dataclasses.dataclass
class Body:
    line: int
    code: str
    is_program: bool
    output: str = None  # None: not told
    ends: str = 'normal'


@dataclasses.dataclass
class Page:
    tops: list  # (line, code, how many bodies there are before)
    bodies: list


def parse(text):
    page = Page([], [])
    hidden, ends, last = [], 'normal', None
    for match in PART.finditer(text):
        comment, info = match[1], match[3]
        start = match.start(2) if comment else match.start(4)
        line = text[:start].count('\n') + 1
        if comment and comment.startswith('ends: '):
            ends = comment[6:]
        elif comment == 'cpp':
            hidden.append((line, match[2]))
        elif comment == 'cpp top' or info == 'cpp top':
            page.tops.append((line, match[2] or match[4], len(page.bodies)))
        elif info == 'cpp':
            code = ''.join(f'#line {at} "PAGE"\n{text}' for at, text in [*hidden, (line, match[4])])
            page.bodies.append(Body(line, code, 'int main(' in match[4], ends=ends))
            hidden, ends = [], 'normal'
        elif info == 'text' and last is not None and not text[last:match.start()].strip():
            page.bodies[-1].output = match[4]
        last = match.end() if info == 'cpp' else None
    return page


def extract(path, output):
    page = parse(path.read_text(encoding='utf-8'))
    name = path.as_posix()
    includes, parts, cases = [], [], []

    def without_includes(code):
        includes.extend(re.findall(r'^#include <.*>$', code, re.M))
        return re.sub(r'^#include <.*>$', '', code, flags=re.M).replace('"PAGE"', f'"{name}"')

    tops = list(page.tops)
    for number, body in enumerate([*page.bodies, None], 1):
        while tops and tops[0][2] < number:
            line, code, _ = tops.pop(0)
            parts.append(f'namespace page {{\n#line {line} "{name}"\n{without_includes(code)}}}\n')
        if body is None:
            break
        code = without_includes(body.code)
        if body.is_program:
            parts.append(f'namespace program_{number} {{\n{code}}}\n')
            given = '' if 'int main()' in code else 'argc - 1, argv + 1'
            cases.append(f'    case {number}: return program_{number}::main({given});\n')
        else:
            parts.append(f'namespace page {{\nvoid body_{number}() {{\n{code}}}\n}}\n')
            cases.append(f'    case {number}: return run_body(page::body_{number}, argc - 1, argv + 1);\n')
    text = [HEAD, *(f'{line}\n' for line in dict.fromkeys(includes)), RUN, f'namespace page {{\n{USING}}}\n', *parts,
            f'#line 1 "{pathlib.Path(output).name}"\nint main(int argc, char** argv) {{\n',
            '  switch (argc > 1 ? std::stoi(argv[1]) : 0) {\n', *cases, '    default: return 2;\n  }\n}\n']
    pathlib.Path(output).write_text(''.join(text), encoding='utf-8')


def anchors(text):
    heads = re.findall(r'^#+ (.*)$', FENCE.sub('', text), re.M)
    return {re.sub(r'[^\w -]', '', head.lower()).replace(' ', '-') for head in heads}


class Check:
    def __init__(self, erlking, pages):
        self.erlking = erlking
        self.pages = pages  # path to program or None
        self.root = next(path.parent for path in pages if path.name == 'README.md' and path.parent.name != 'docs')
        self.faults = []

    def expect(self, condition, path, what):
        if not condition:
            self.faults.append(f'{path.relative_to(self.root)}: {what}')

    def run(self, *command):
        try:
            return subprocess.run(command, capture_output=True, text=True, errors='replace', timeout=TIMEOUT_S,
                                  stdin=subprocess.DEVNULL, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return subprocess.CompletedProcess(command, -1, '', str(error))

    def check_all(self):
        listed = {*self.root.glob('docs/*.md'), self.root / 'README.md'}
        for path in listed ^ set(self.pages):
            self.expect(False, path, 'is not checked, or is not there')
        for path, program in self.pages.items():
            text = path.read_text(encoding='utf-8')
            self.check_code(path, text, program)
            self.check_commands(path, text)
            self.check_links(path, text)
        readme = self.root / 'README.md'
        self.check_runtime_flags(readme)
        self.check_workloads(readme)

    def check_code(self, path, text, program):
        bodies = parse(text).bodies
        fenced = sum(info.split()[:1] == ['cpp'] for info, _ in FENCE.findall(text))
        self.expect(not fenced or program, path, f'{fenced} C++ blocks are not compiled')
        tops = len(re.findall(r'^```cpp top$', text, re.M))
        self.expect(fenced == len(bodies) + tops, path, 'a C++ block is overlooked')
        for number, body in enumerate(bodies if program else [], 1):
            ended = self.run(program, str(number))
            normal = body.ends == 'normal'
            self.expect((ended.returncode == 0) == normal and (normal or f'ends: {body.ends}\n' in ended.stderr), path,
                        f'{body.line}: ends with {ended.returncode}, and not as expected ({body.ends})\n{ended.stderr}')
            self.expect(body.output is None or ended.stdout == body.output, path,
                        f'{body.line}: prints {ended.stdout!r}, not {body.output!r}\n{ended.stderr}')

    def check_runtime_flags(self, readme):
        """Each --ek- flag of any page; and that not just anything is taken."""
        program = self.pages[readme]
        texts = ''.join(path.read_text(encoding='utf-8') for path in self.pages)
        for flag in sorted(set(re.findall(r'--ek-[a-z][a-z-]*(?:=\w+)?', texts))):
            ended = self.run(program, '1', flag)
            self.expect(ended.returncode == 0, readme, f'{flag}: {ended.stderr}')
        refused = self.run(program, '1', '--ek-nonsense')
        self.expect(refused.returncode == 2, readme, f'--ek-nonsense ends with {refused.returncode}')

    def commands(self, path, text):
        """command, as words, to the flags the page gives it: from code spans, indented and sh blocks, as they come."""
        named = {}
        current = None
        text = FENCE.sub(lambda m: re.sub('^', '    ', m[2], flags=re.M) if m[1] == 'sh' else '', text)
        for span in re.findall(r'`([^`\n]+)`|^    (.*)$', text, re.M):
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
                self.expect(current is not None, path, f'{flags} before any command')
                named.setdefault(current, set()).update(flags)
        named.pop(None, None)
        return named

    def check_commands(self, path, text):
        named = self.commands(path, text)
        if path == self.root / 'README.md':
            self.expect(('tools/run',) in named and ('tools/test',) in named, path, f'finds only {sorted(named)}')
        for command, flags in sorted(named.items()):
            program = self.root / command[0]
            if command[0].startswith('tools/'):
                self.expect(program.is_file() and program.stat().st_mode & 0o111, path, f'{command[0]} cannot be run')
            if program.name == 'erlking':  # the script would compile another
                program = self.erlking
            ended = self.run(program, *command[1:], '--help')
            self.expect(ended.returncode == 0, path, f'{" ".join(command)} --help ends with {ended.returncode}')
            for flag in flags - {'--help'}:
                self.expect(re.search(rf'{flag}(?![\w-])', ended.stdout), path,
                            f'{" ".join(command)} --help lacks {flag}')

    def check_links(self, path, text):
        for link in LINK.findall(re.sub(r'`[^`\n]+`', '', FENCE.sub('', text))):
            if '://' in link:
                continue
            place, _, anchor = link.partition('#')
            target = (path.parent / place).resolve() if place else path
            self.expect(target.exists(), path, f'links to {link}, which is not there')
            if anchor and target.is_file():
                self.expect(anchor in anchors(target.read_text(encoding='utf-8')), path, f'{link}: no such heading')

    def check_workloads(self, readme):
        """The tables of workloads, wherever they are, against what the executable knows."""
        told = self.run(self.erlking, 'bench', '--help').stdout
        listed = re.search(r'^Workloads:\n((?:  .*\n)+)', told, re.M)
        known = set(re.findall(r'^  ([\w-]+) ', listed[1], re.M)) if listed else set()
        self.expect(known, readme, 'erlking bench --help lists no workloads')
        tables = 0
        for path in self.pages:
            text = path.read_text(encoding='utf-8')
            for table in re.findall(r'^\| workload \| what happens.*\n\|[-| ]+\n((?:\|.*\n)+)', text, re.M):
                tables += 1
                shown = {name for row in table.splitlines() for name in re.findall(r'`([^`]+)`', row.split('|')[1])}
                self.expect(shown == known, path, f'shows {sorted(shown)}, erlking bench knows {sorted(known)}')
        self.expect(tables, readme, 'no table of workloads')


def main(arguments):
    if len(arguments) == 3 and arguments[0] == 'extract':
        extract(pathlib.Path(arguments[1]).resolve(), arguments[2])
        return 0
    if len(arguments) < 3 or arguments[0] != 'check':
        print(__doc__, file=sys.stderr)
        return 2
    pages = {pathlib.Path(page).resolve(): program for page, _, program in (a.partition('=') for a in arguments[2:])}
    check = Check(arguments[1], pages)
    check.check_all()
    for fault in check.faults:
        print(fault)
    return 1 if check.faults else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
