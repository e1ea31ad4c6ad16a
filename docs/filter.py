#!/usr/bin/env python3
"""Doxygen's view of a header: what its reader would otherwise have to be told in Doxygen's words.

usage: filter.py HEADER

- Its leading // block is the text of its page; indented lines there are code.
- In that block and in ///, what Doxygen takes for markup stands for itself, but for `…`.
- namespace detail is not shown, nor of some headers what is no part of a runtime's statistics; what every value type
  has is documented in a word.
Lines keep their numbers, for the sake of warnings.
"""

import pathlib
import re
import sys

MARKUP = re.compile(r'(`[^`]*`)|([<>&#%@\\"])')
DOCUMENTED = re.compile(r'(.*?///<?)( .*)?')
# Copying, moving, swapping and hashing mean here what they mean everywhere.
VALUE = re.compile(r'  (?:constexpr )?(?:(\w+)\((?:const )?\1&&? \w+\)|\w+& operator=\((?:const )?\w+&&? \w+\)'
                   r'|void swap\(\w+& \w+\)|std::size_t operator\(\)\()')
# All that a user sees of headers which are not for users.
PARTS = {'sched/stack.h': 'enum class Guard|struct StackStats', 'gc/collector.h': 'struct HeapStats'}
HASH = re.compile(r'struct std::hash<')


def prose(text):
    return MARKUP.sub(lambda m: m[1] or '\\' + m[2], text)


def page(lines):
    """As many lines as given, where that is enough: prose that runs on is one line."""
    out = ['/*! \\file', '']
    code = False
    for line in lines:
        text = line[3:]
        indented = text.startswith('  ') or code and not text and out[-1] == ''
        if indented != code:
            out += ['\\code{.cpp}', ''] if indented else ['\\endcode', '']
            code = indented
        if code or not text:
            out += [text] if code else ['', '']
        else:
            out[-1] += ' ' * (out[-1] != '') + prose(text)
    out.append('\\endcode */' if code else '*/')
    out = [line for i, line in enumerate(out) if line or i == 0 or out[i - 1]]
    return out + [''] * (len(lines) - len(out))


def parts(lines, wanted):
    """The declarations that begin so, with their comments and namespaces; blank lines for all else."""
    inside = False
    for number, line in enumerate(lines):
        begins = next((text for text in lines[number:] if not text.startswith('///')), '')
        inside = inside or re.match(wanted, begins) is not None
        yield line if inside or re.match('namespace|}  // namespace', line) else ''
        inside = inside and not line.endswith('};')


def main():
    lines = pathlib.Path(sys.argv[1]).read_text(encoding='utf-8').split('\n')
    for name, wanted in PARTS.items():
        lines = list(parts(lines, wanted)) if sys.argv[1].endswith(name) else lines
    head = next((i for i, line in enumerate(lines) if not line.startswith('//')), len(lines))
    out = page(lines[:head]) if head else []
    hidden = False
    for line, last in zip(lines[head:], [''] + lines[head:]):
        hidden = hidden or re.match(r'namespace ([\w:]+::)?detail {', line) is not None
        comment = DOCUMENTED.fullmatch(line)
        if hidden:
            out.append('')
            hidden = not re.match(r'}  // namespace ([\w:]+::)?detail', line)
        elif comment:
            out.append(comment[1] + prose(comment[2] or ''))
        elif HASH.match(line):
            out.append('/** A hash, for unordered containers. */ ' + line)
        elif VALUE.match(line) and not last.lstrip().startswith('///'):
            out.append('/** As for any value. */ ' + line)
        else:
            out.append(line)
    print('\n'.join(out))


if __name__ == '__main__':
    main()
