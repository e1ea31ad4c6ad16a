"""Which rules of docs/semantics.md a test must show, and which a test's name says it shows.

A rule is a paragraph that begins **3.8**, or a section's table, under the section's number alone. What a rule says in
sentences marked *not yet* or *none* needs no test; a rule of nothing else needs none at all.
"""

import re

RULES = 'docs/semantics.md'
SECTIONS = range(1, 15)

SECTION = re.compile(r'^## (\d+)\b.*$', re.M)
RULE = re.compile(r'^\*\*(\d+\.\d+)\*\* ', re.M)
MARKED = re.compile(r'\*(not yet|none)\*', re.I)
SHOWN = re.compile(r'\bRule_(\d+)(?:_(\d+))?_')


def to_check(text):
    """The numbers of the rules that need a test, in their order."""
    numbers = []
    parts = SECTION.split(text)
    for section, body in zip(parts[1::2], parts[2::2]):
        if int(section) not in SECTIONS:
            continue
        before, *rules = RULE.split(body)
        if re.search(r'^\|', before, re.M):
            numbers.append(section)
        for number, said in zip(rules[::2], rules[1::2]):
            paragraph = ' '.join(said.split('\n\n')[0].split())
            if any(not MARKED.search(sentence) for sentence in re.split(r'(?<=\.) ', paragraph)):
                numbers.append(number)
    return numbers


def shown_by(tests):
    """The rules that the names of these tests carry."""
    return {'.'.join(part for part in found.groups() if part) for test in tests for found in SHOWN.finditer(test)}


def missing(text, tests):
    """(how many rules need a test, those of them that none of these tests shows)."""
    wanted = to_check(text)
    shown = shown_by(tests)
    return len(wanted), [number for number in wanted if number not in shown]
