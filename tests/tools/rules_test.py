#!/usr/bin/env python3
"""Checks tools/rules.py: which rules it wants tests for, and which it finds shown."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools'))
import rules

TEXT = """# Semantics

**0.1** Not a section's.

## 1. First

**1.1** A rule
of two lines.

A paragraph of no rule: *not yet*.

**1.2** Tags: *not yet*.

**1.3** It holds. What else it might: *not yet*.

**1.4** Over the end of a line: *not
yet*.

**1.10** Group leaders: *none*.

## 2. With a table

| how | reason |
|---|---|
| so (*not yet*) | so |

**2.1** Another.

## 5. Aliases

*Not yet.* Nothing here.

## 15. Beyond

**15.1** Not looked at.

## 14. Last

**14.1** Asked for.
"""


def main():
    faults = []

    def expect(got, wanted):
        if got != wanted:
            faults.append(f'{got!r}, not {wanted!r}')

    expect(rules.to_check(TEXT), ['1.1', '1.3', '2', '2.1', '14.1'])
    shown = ['A/B.Rule_1_1_So/0', 'C.Rule_2_TheTable', 'C.Rule_14_1_Last', 'D.Rule_1_30_Else', 'E.Plain']
    expect(rules.shown_by(shown), {'1.1', '2', '14.1', '1.30'})
    expect(rules.missing(TEXT, shown), (5, ['1.3', '2.1']))
    expect(rules.missing(TEXT.replace('Tags: *not yet*.', 'Tags.'), shown), (6, ['1.2', '1.3', '2.1']))
    expect(rules.missing(TEXT, [*shown, 'Rule_1_3_', 'Rule_2_1_']), (5, []))

    real = rules.to_check((ROOT / rules.RULES).read_text(encoding='utf-8'))
    expect([number for number in ('1.1', '2', '2.4', '3.8', '4.11', '7.8', '8.5', '14.7') if number not in real], [])
    print('\n'.join(faults))
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
