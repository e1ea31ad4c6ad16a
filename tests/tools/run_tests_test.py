#!/usr/bin/env python3
"""Checks tools/run_tests.py: how it counts a GoogleTest report, a crash, and what passes when it is run again; and how
tools/test and .ci/run read their arguments."""

import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'tools'))
import run_tests

# Behaves as a GoogleTest program with the cases A.good and A.bad; A.bad as `how` says.
PROGRAM = '''#!/usr/bin/env python3
import json, os, pathlib, sys
how, mark = {how!r}, pathlib.Path({mark!r})
report = next(a.split(':', 1)[1] for a in sys.argv if a.startswith('--gtest_output=json:'))
names = next((a.split('=', 1)[1].split(':') for a in sys.argv if a.startswith('--gtest_filter=')), ['A.good', 'A.bad'])
runs = int(mark.read_text()) + 1 if mark.exists() else 1
mark.write_text(str(runs))
passes_at = dict(passes=1, unsteady=2, shaky=4, fails=5).get(how, 2)
bad = 'A.bad' in names and runs < passes_at
if how == 'crashes' and runs == 1 or how == 'fails, then crashes' and runs == 2:
    print('[ RUN      ] A.bad', flush=True)
    os.abort()
cases = [dict(name=n[2:], result='COMPLETED') for n in names]
if bad:
    cases[-1]['failures'] = [1]
pathlib.Path(report).write_text(json.dumps(dict(testsuites=[dict(name='A', testsuite=cases)])))
sys.exit((3 if how == 'reports' else 1) if bad else 0)
'''


class Repeating(unittest.TestCase):
    def outcome(self, how):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            program = folder / 'program'
            program.write_text(PROGRAM.format(how=how, mark=str(folder / 'mark')))
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            setup = run_tests.Setup('release', [])
            setup.build = setup.logs = folder
            test = {'name': 'some', 'cmd': [str(program)], 'suite': ['gtest'], 'env': {}}
            return setup.run_together([test])

    def test_what_passes_counts_once(self):
        result = self.outcome('passes')
        self.assertEqual((result.passed, result.failed, result.unsteady), (2, 0, []))

    def test_what_passes_when_run_again_is_passed_and_named(self):
        result = self.outcome('unsteady')
        self.assertEqual((result.passed, result.failed, result.failures), (2, 0, []))
        self.assertEqual(result.unsteady, ['release: some: A.bad'])
        self.assertEqual(sorted(result.cases), ['A.bad', 'A.good'])
        self.assertEqual(self.outcome('shaky').unsteady, ['release: some: A.bad'])

    def test_what_fails_each_time_is_failed(self):
        result = self.outcome('fails')
        self.assertEqual((result.passed, result.failed, result.unsteady), (1, 1, []))
        self.assertEqual(result.failures, ['release: some: A.bad'])

    def test_a_crash_is_not_run_again(self):
        result = self.outcome('crashes')
        self.assertEqual((result.passed, result.failed, result.unsteady), (0, 1, []))

    def test_a_crash_when_run_again_is_failed(self):
        result = self.outcome('fails, then crashes')
        self.assertEqual((result.passed, result.failed, result.unsteady), (1, 1, []))

    def test_a_sanitizers_report_is_not_run_again(self):
        result = self.outcome('reports')
        self.assertEqual((result.passed, result.failed, result.unsteady), (1, 1, []))


class Arguments(unittest.TestCase):
    """Of copies of the scripts, in a tree where set-up does nothing and run_tests.py prints what it is given."""

    def run_script(self, script, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name in ('tools', '.ci'):
                (root / name).mkdir()
            for name in ('tools/test', '.ci/run'):
                shutil.copy(ROOT / name, root / name)
            (root / 'tools/setup').write_text('#!/bin/sh\n')
            (root / 'tools/setup').chmod(0o755)
            (root / 'tools/run_tests.py').write_text('import sys; print(*sys.argv[1:])\n')
            ended = subprocess.run(['bash', root / script, *arguments], capture_output=True, text=True, check=False)
            return ended.returncode, ended.stdout.strip()

    def test_of_test(self):
        self.assertEqual(self.run_script('tools/test'), (0, 'release asan tsan'))
        self.assertEqual(self.run_script('tools/test', '--only', 'debug', 'tsan'), (0, 'debug tsan'))
        both = (0, '--within=30 release')
        self.assertEqual(self.run_script('tools/test', '--within', '30', '--only', 'release'), both)
        self.assertEqual(self.run_script('tools/test', '--only', 'release', '--within', '30'), both)

    def test_what_it_refuses(self):
        for wrong in (['--within'], ['--within', 'soon'], ['--only'], ['release'], ['--only', '--within', '30']):
            self.assertEqual(self.run_script('tools/test', *wrong)[0], 2, wrong)

    def test_of_ci(self):
        self.assertEqual(self.run_script('.ci/run'), (0, '--within=30 release tsan asan'))
        self.assertEqual(self.run_script('.ci/run', '--only', 'release'), (0, 'release'))


if __name__ == '__main__':
    sys.stderr = open(os.devnull, 'w', encoding='utf-8')  # what run_tests says of the failures made here
    ended = unittest.main(exit=False, verbosity=0).result
    if not ended.wasSuccessful():
        print(json.dumps([str(fault) for fault in ended.failures + ended.errors], indent=1))
    sys.exit(not ended.wasSuccessful())
