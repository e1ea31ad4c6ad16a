#!/usr/bin/env python3
"""Builds set-ups, runs every test meson knows in each, and sums them up in one last line: `N passed, N failed`.

usage: tools/run_tests.py [--within=MINUTES] SETUP…        (tools/test calls it; SETUP as in tools/build)

A test whose meson suite is 'gtest' is a GoogleTest program and counts each of its cases; any other test counts one, by
its exit status (77: left out). A set-up that does not build, a crash, a time-out and a sanitizer's report count as
failed. A case that fails an expectation, and nothing worse, is run again by itself, when the machine is quieter, at
most REPEATS times: if it passes then it counts as passed, and is listed as unsteady, to be mended. tests/exclusions.txt
says which tests a set-up leaves out, and why. In release one more test, `rules`, holds the names of the cases that
passed against docs/semantics.md: a rule that none of them shows fails it (rules.py).
"""

import concurrent.futures
import dataclasses
import fnmatch
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time

import rules

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXCLUSIONS = 'tests/exclusions.txt'
TIMEOUT_S = 300  # a test may ask meson for more
REPEATS = 3
TAIL_LINES = 60
SANITIZER_OPTIONS = {
    'ASAN_OPTIONS': 'use_sigaltstack=0:detect_stack_use_after_return=0:strict_string_checks=1',
    'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1',
    'TSAN_OPTIONS': 'halt_on_error=1:second_deadlock_stack=1',
}
CASE_END = re.compile(r'^\[ *(OK|FAILED|SKIPPED) *\] ([^\s(,]+).*\(\d+ ms', re.M)
CASE_RUN = re.compile(r'^\[ *RUN *\] (\S+)', re.M)

say_lock = threading.Lock()
running = set()  # the tests' process groups, each of its own, so that an interrupt has to be passed on


def say(text):
    with say_lock:
        print(text, file=sys.stderr, flush=True)


@dataclasses.dataclass
class Exclusion:
    line: int
    setups: list
    pattern: str
    matched: bool = False


@dataclasses.dataclass
class Result:
    passed: int = 0
    failed: int = 0
    left_out: int = 0
    failures: list = dataclasses.field(default_factory=list)
    cases: list = dataclasses.field(default_factory=list)  # of GoogleTest, passed
    unsteady: list = dataclasses.field(default_factory=list)  # passed at the second run only
    broken_cases: list = dataclasses.field(default_factory=list)  # failed an expectation in a run that came to its end

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.left_out += other.left_out
        self.failures += other.failures
        self.cases += other.cases
        self.unsteady += other.unsteady


def read_exclusions(path):
    """Lines `setup[,setup…]  Suite.Test  # reason`; names may hold GoogleTest's * and ?. No reason: an error."""
    exclusions = []
    if not path.exists():
        return exclusions
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith('#'):
            continue
        entry = re.fullmatch(r'(\S+)\s+(\S+)\s+#\s*(\S.*)', line.strip())
        if not entry:
            raise ValueError(f'{EXCLUSIONS}:{number}: not `setup  Suite.Test  # reason`')
        exclusions.append(Exclusion(number, entry[1].split(','), entry[2]))
    return exclusions


def environment(setup, test):
    env = dict(os.environ, EK_TEST_BUILD=setup, GTEST_COLOR='no')
    for name, value in SANITIZER_OPTIONS.items():
        env[name] = value + (':' + os.environ[name] if os.environ.get(name) else '')
    env.update(test.get('env', {}))
    return env


def fixed_addresses():
    """g++ 12's sanitizers lose their shadow memory where the kernel randomises addresses by more than 28 bits."""
    try:
        bits = int(pathlib.Path('/proc/sys/vm/mmap_rnd_bits').read_text())
    except (OSError, ValueError):
        return []
    prefix = ['setarch', '-R']
    if bits <= 28 or not shutil.which('setarch'):
        return []
    return prefix if subprocess.run(prefix + ['true'], capture_output=True).returncode == 0 else []


def kill_group(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def interrupted(number, _):
    for group in list(running):
        kill_group(group)
    os._exit(128 + number)


def execute(command, env, cwd, log, timeout):
    """Runs in a process group of its own, output into log; past the limit it is aborted, for its stack, then killed."""
    with open(log, 'wb') as out:
        out.write((shlex.join(command) + '\n').encode())
        out.flush()
        try:
            child = subprocess.Popen(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out,
                                     stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:
            return f'cannot start: {error}'
        running.add(child.pid)
        try:
            code = child.wait(timeout)
            why = None
        except subprocess.TimeoutExpired:
            code, why = None, f'timed out after {timeout} s'
            child.send_signal(signal.SIGABRT)
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                pass
        kill_group(child.pid)  # and what it left behind
        child.wait()
        running.discard(child.pid)
    if why:
        return why
    if code < 0:
        return f'killed by {signal.Signals(-code).name}'
    return code


def count_gtest(report, log, end):
    """end: the exit status, or in words how it died. Without a whole report the cases are counted from the output."""
    result = Result()
    try:
        suites = json.loads(report.read_text())['testsuites']
    except (OSError, ValueError, KeyError):
        suites = None
    if suites is not None:
        for suite in suites:
            for case in suite['testsuite']:
                name = f"{suite['name']}.{case['name']}"
                if case.get('failures'):
                    result.failed += 1
                    result.failures.append(name)
                    result.broken_cases.append(name)
                elif case.get('result') == 'COMPLETED':
                    result.passed += 1
                    result.cases.append(name)
                else:
                    result.left_out += 1
        if end != 0 and not result.failed:
            result.failed += 1
            result.failures.append(f'after its last case: {ending(end)}')
        if end != 1:  # GoogleTest's own, for failed expectations
            result.broken_cases.clear()
        return result
    output = log.read_text(errors='replace')
    ended = {}
    for word, name in CASE_END.findall(output):
        ended[name] = word
    for name, word in ended.items():
        if word == 'OK':
            result.passed += 1
            result.cases.append(name)
        elif word == 'SKIPPED':
            result.left_out += 1
        else:
            result.failed += 1
            result.failures.append(name)
    unfinished = [name for name in CASE_RUN.findall(output) if name not in ended]
    result.failed += 1
    where = f'in {unfinished[-1]}' if unfinished else 'outside any case'
    result.failures.append(f'{where}: {ending(end)}; the cases after it did not run')
    return result


def ending(end):
    return end if isinstance(end, str) else f'exit status {end}'


class Setup:
    def __init__(self, name, exclusions):
        self.name = name
        self.build = ROOT / 'build' / name
        self.logs = self.build / 'test-logs'
        self.exclusions = [e for e in exclusions if name in e.setups]
        self.prefix = fixed_addresses() if name in ('asan', 'tsan') else []
        self.failed_logs = []

    def run(self):
        started = time.monotonic()
        say(f'{self.name}: building')
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(parents=True)
        build_log = self.logs / 'build.log'
        with open(build_log, 'wb') as out:
            built = subprocess.run([ROOT / 'tools' / 'build', self.name], stdout=out, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, check=False)
        if built.returncode:
            return self.broken(build_log, 'it does not build')
        asked = subprocess.run(['meson', 'introspect', '--tests', self.build], capture_output=True, text=True,
                               check=False)
        if asked.returncode:
            build_log.write_text(asked.stdout + asked.stderr)
            return self.broken(build_log, 'meson cannot list its tests')
        tests = json.loads(asked.stdout)
        say(f'{self.name}: built in {time.monotonic() - started:.0f} s; {len(tests)} test programs')

        total = self.run_together(tests)
        for stale in [e for e in self.exclusions if not e.matched]:
            total.failed += 1
            total.failures.append(f'{EXCLUSIONS}:{stale.line}: {self.name} has no test {stale.pattern}')
            say(total.failures[-1])
        self.check_rules(total)
        say(f'{self.name}: {total.passed} passed, {total.failed} failed, {total.left_out} left out, '
            f'{time.monotonic() - started:.0f} s')
        return total

    def run_together(self, tests):
        """As many at a time as there are CPUs, then those that want to be alone, then again what may be repeated."""
        total = Result()
        to_repeat = []
        together = [t for t in tests if t.get('is_parallel', True)]
        alone = [t for t in tests if not t.get('is_parallel', True)]
        for group, width in ((together, os.cpu_count() or 1), (alone, 1)):
            with concurrent.futures.ThreadPoolExecutor(width) as pool:
                for test, result in zip(group, pool.map(self.run_test, group)):
                    to_repeat += [(test, result)] if result.broken_cases else []
                    total.add(result)
        for test, result in to_repeat:
            self.repeat(test, result, total)
        return total

    def check_rules(self, total):
        """Counts as a test in release; elsewhere some are left out, and it only tells."""
        wanted, missing = rules.missing((ROOT / rules.RULES).read_text(encoding='utf-8'), total.cases)
        told = f'rules: {wanted - len(missing)} of {wanted} checked'
        if missing:
            told += f'; no test that passed shows {", ".join(missing)}'
        say(f'{self.name}: {told}')
        if self.name != 'release':
            return
        total.add(Result(failed=1, failures=[f'{self.name}: {told}']) if missing else Result(passed=1))

    def broken(self, log, why):
        self.report(log, [why])
        return Result(failed=1, failures=[f'{self.name}: {why}'])

    def report(self, log, failures):
        self.failed_logs.append(log)
        lines = log.read_text(errors='replace').splitlines()[-TAIL_LINES:]
        say('\n'.join([f'---- {self.name}: the end of {log}', *lines, '----', *(f'FAILED {f}' for f in failures)]))

    def run_test(self, test):
        name = test['name']
        suites = [suite.rsplit(':', 1)[-1] for suite in test.get('suite', [])]
        log = self.logs / (re.sub(r'[^\w.-]+', '_', name) + '.log')
        env = environment(self.name, test)
        timeout = max(TIMEOUT_S, test.get('timeout') or 0)
        command = self.prefix + test['cmd']
        cwd = test.get('workdir') or self.build
        started = time.monotonic()
        if 'gtest' in suites:
            result = self.run_gtest(command, env, cwd, log, timeout)
        else:
            result = self.run_plain(name, command, env, cwd, log, timeout)
        if not (result.passed or result.failed or result.left_out):
            result = Result(failed=1, failures=['it holds no test'])
        result.failures = [f'{self.name}: {name}: {failure}' for failure in result.failures]
        say(f'{self.name}: {name}: {result.passed} passed, {result.failed} failed, {result.left_out} left out, '
            f'{time.monotonic() - started:.1f} s')
        if result.failed:
            self.report(log, result.failures)
        return result

    def run_again(self, test, cases):
        log = self.logs / (re.sub(r'[^\w.-]+', '_', test['name']) + '.again.log')
        report = log.with_suffix('.json')
        command = self.prefix + test['cmd'] + [f'--gtest_output=json:{report}', '--gtest_filter=' + ':'.join(cases)]
        end = execute(command, environment(self.name, test), test.get('workdir') or self.build, log,
                      max(TIMEOUT_S, test.get('timeout') or 0))
        return count_gtest(report, log, end)

    def repeat(self, test, first, total):
        """Runs the cases that failed in `first`, part of `total`, again, by themselves."""
        cases = first.broken_cases
        for _ in range(REPEATS):
            again = self.run_again(test, cases)
            passes = not again.failed and sorted(again.cases) == sorted(cases)
            if passes or not again.broken_cases:  # without them it failed by worse than an expectation
                break
        if not passes:
            say(f'{self.name}: {test["name"]}: fails again: {", ".join(cases)}')
            return
        told = [f'{self.name}: {test["name"]}: {case}' for case in cases]
        total.failures = [failure for failure in total.failures if failure not in told]
        total.failed -= len(cases)
        total.passed += len(cases)
        total.cases += cases
        total.unsteady += told
        say(f'{self.name}: {test["name"]}: UNSTEADY, passes when run again: {", ".join(cases)}')

    def run_gtest(self, command, env, cwd, log, timeout):
        left_out = 0
        patterns = []
        if self.exclusions:
            execute(command + ['--gtest_list_tests'], env, cwd, log, timeout)
            cases, suite = [], ''
            for line in log.read_text(errors='replace').splitlines():
                words = line.split('#')[0].strip()
                if line.startswith('  '):
                    cases.append(suite + words)
                else:
                    suite = words
            excluded = set()
            for exclusion in self.exclusions:
                matches = fnmatch.filter(cases, exclusion.pattern.replace('[', '[[]'))
                if matches:
                    exclusion.matched = True
                    patterns.append(exclusion.pattern)
                    excluded.update(matches)
            left_out = len(excluded)
            if cases and left_out == len(cases):
                log.write_text('every case is left out\n')
                return Result(left_out=left_out)
        report = log.with_suffix('.json')
        report.unlink(missing_ok=True)
        arguments = [f'--gtest_output=json:{report}']
        if patterns:
            arguments.append('--gtest_filter=-' + ':'.join(patterns))
        end = execute(command + arguments, env, cwd, log, timeout)
        result = count_gtest(report, log, end)
        result.left_out += left_out
        return result

    def run_plain(self, name, command, env, cwd, log, timeout):
        for exclusion in self.exclusions:
            if exclusion.pattern == name:
                exclusion.matched = True
                log.write_text('left out\n')
                return Result(left_out=1)
        end = execute(command, env, cwd, log, timeout)
        if end == 0:
            return Result(passed=1)
        if end == 77:
            return Result(left_out=1)
        return Result(failed=1, failures=[ending(end)])


def main(arguments):
    if not arguments or {'-h', '--help'} & set(arguments):
        print(__doc__.strip())
        return 0 if arguments else 2
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    (ROOT / 'build').mkdir(exist_ok=True)
    failed_logs = ROOT / 'build' / 'failed-logs.txt'
    failed_logs.write_text('')
    total = Result()
    try:
        exclusions = read_exclusions(ROOT / EXCLUSIONS)
    except ValueError as error:
        say(str(error))
        total = Result(failed=1, failures=[str(error)])
        arguments = []
    within, names = float('inf'), []
    for argument in arguments:
        if argument.startswith('--within='):
            within = float(argument.split('=')[1])
        else:
            names.append(argument)
    began = time.monotonic()
    for name in names:
        minutes = (time.monotonic() - began) / 60
        if minutes > within:
            say(f'{name}: NOT RUN: {minutes:.0f} minutes had passed, and it was to begin within {within:g}')
            continue
        setup = Setup(name, exclusions)
        total.add(setup.run())
        with open(failed_logs, 'a', encoding='utf-8') as out:
            out.writelines(f'{log}\n' for log in setup.failed_logs)
    if total.failures:
        say('\n'.join(['', 'failed:', *(f'  {failure}' for failure in total.failures)]))
    if total.unsteady:
        say('\n'.join(['', 'UNSTEADY, passed only when run again; to be mended:', *(f'  {u}' for u in total.unsteady)]))
    if total.left_out:
        say(f'{total.left_out} left out ({EXCLUSIONS} says why)')
    print(f'{total.passed} passed, {total.failed} failed', flush=True)
    return 0 if total.passed and not total.failed else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
