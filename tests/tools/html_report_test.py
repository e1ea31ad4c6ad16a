#!/usr/bin/env python3
"""Looks at the page of `erlking bench --html` in a headless browser: it shows what the CSV of the same run says, draws
it without an error, asks for nothing outside, and fits a narrow window.

usage: html_report_test.py ERLKING
"""

import collections
import csv
import html.parser
import json
import math
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

TIMEOUT_S = 240  # of a browser on a busy machine
BROWSER = 'chromium'
NARROW = 400
# A browser's window has a least width, a frame has none.
PROBE = '''<!doctype html><iframe id="frame" src="{}" width="{}" height="900" style="border: 0"></iframe><script>
onload = () => {{
  const page = document.getElementById('frame').contentDocument.documentElement;
  document.body.dataset.given = page.clientWidth;
  document.body.dataset.needed = page.scrollWidth;
  document.body.dataset.bars = page.querySelectorAll('.bar').length;
}};</script>'''
LOADS = ('src', 'srcset', 'href', 'xlink:href', 'data', 'action', 'poster')  # attributes that name what to fetch
NO_END = ('meta', 'link', 'img', 'input', 'br', 'hr')


class Element:
    def __init__(self, tag, attributes, parent):
        self.tag, self.parent, self.text, self.children = tag, parent, '', []
        self.attributes = {name: value or '' for name, value in attributes}
        self.classes = self.attributes.get('class', '').split()

    def all(self, tag=None, klass=None):
        """Itself and what is in it, in order."""
        if tag in (None, self.tag) and (klass is None or klass in self.classes):
            yield self
        for child in self.children:
            yield from child.all(tag, klass)

    def words(self):
        return ' '.join(filter(None, [self.text.strip(), *(child.words() for child in self.children)]))


class Dom(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.root = self.at = Element('', [], None)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        element = Element(tag, attrs, self.at)
        self.at.children.append(element)
        if tag not in NO_END:
            self.at = element

    def handle_endtag(self, tag):
        element = self.at
        while element.parent and element.tag != tag:
            element = element.parent
        if element.parent:
            self.at = element.parent

    def handle_data(self, data):
        self.at.text += data

    def id(self, name):
        found = [e for e in self.root.all() if e.attributes.get('id') == name]
        return found[0] if found else Element('', [], None)


class Test:
    def __init__(self, erlking, folder):
        self.erlking = erlking
        self.folder = folder
        self.faults = []

    def expect(self, condition, what):
        if not condition:
            self.faults.append(what)

    def bench(self, *arguments):
        return subprocess.run([self.erlking, 'bench', *arguments], capture_output=True, text=True, timeout=TIMEOUT_S,
                              stdin=subprocess.DEVNULL, check=False)

    def browse(self, page):
        """The DOM once all scripts have run."""
        command = [BROWSER, '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
                   '--no-first-run', '--disable-background-networking', '--host-resolver-rules=MAP * ~NOTFOUND',
                   f'--user-data-dir={self.folder / "profile"}', '--window-size=1200,900',
                   '--allow-file-access-from-files', '--virtual-time-budget=10000', '--enable-logging=stderr',
                   '--dump-dom', page.as_uri()]
        ended = subprocess.run(command, capture_output=True, text=True, errors='replace', timeout=TIMEOUT_S,
                               stdin=subprocess.DEVNULL, env={**os.environ, 'HOME': str(self.folder)}, check=False)
        self.expect(ended.returncode == 0 and ended.stdout, f'{BROWSER} ends with {ended.returncode}:\n{ended.stderr}')
        for line in ended.stderr.splitlines():
            self.expect('CONSOLE' not in line, f'the browser complains: {line}')
        return Dom(ended.stdout)

    def check_refusals(self):
        link = self.folder / 'link.html'
        link.symlink_to('/dev/null')
        for file in (self.folder / 'absent' / 'page.html', self.folder, link, ''):
            refused = self.bench('pingpong', '--html', str(file))
            self.expect(refused.returncode == 2 and not refused.stdout and '--html' in refused.stderr
                        and refused.stderr.count('\n') == 1,
                        f'--html {file} ends with {refused.returncode} and says {refused.stderr!r}')
        link.unlink()
        self.expect(not list(self.folder.iterdir()), f'refusals leave {list(self.folder.iterdir())}')

    def check_nothing_is_loaded(self, dom):
        for element in dom.root.all():
            for name in LOADS:
                value = element.attributes.get(name, '#')
                self.expect(value.startswith('#'), f'<{element.tag} {name}={value}> asks for something')
        styles = ' '.join(e.text for e in dom.root.all('style')) + \
            ' '.join(e.attributes.get('style', '') for e in dom.root.all())
        self.expect(not re.search(r'url\(|@import', styles), 'a style asks for something')
        policies = [e.attributes.get('content', '') for e in dom.root.all('meta')
                    if e.attributes.get('http-equiv') == 'Content-Security-Policy']
        self.expect(len(policies) == 1 and "default-src 'none'" in policies[0] and 'http' not in policies[0],
                    f'the page would let itself load: {policies}')

    def figures(self, elements):
        """(workload, system, workers, metric) to its figures as CSV writes them, of marks in plots."""
        found = {}
        for element in elements:
            a = {name[5:]: value for name, value in element.attributes.items() if name.startswith('data-')}
            key = (a['workload'], a['system'], a['workers'], a['metric'])
            self.expect(key not in found, f'{key} is drawn twice')
            found[key] = tuple(f'{float(a[name]):.1f}' for name in ('median', 'min', 'max'))
        return found

    def check_plots(self, dom, rows):
        told = {(r['workload'], r['system'], r['workers'], r['metric']): (r['median'], r['min'], r['max'])
                for r in rows}
        bars = list(dom.root.all('g', 'bar'))
        dots = list(dom.root.all('g', 'dot'))
        curves = list(dom.root.all('path', 'curve'))
        for kind, marks, wanted in (('bars', bars, {k: v for k, v in told.items() if k[0] != 'latency'}),
                                    ('dots', dots, {k: v for k, v in told.items() if k[0] == 'latency'})):
            shown = self.figures(marks)
            self.expect(len(wanted) > 0 and shown == wanted,
                        f'{kind}: drawn {sorted(set(shown.items()) - set(wanted.items()))}, '
                        f'measured {sorted(set(wanted.items()) - set(shown.items()))}')

        drawn = {(c.attributes['data-case'], c.attributes['data-system']): int(c.attributes['data-points'])
                 for c in curves if 'data-case' in c.attributes}
        cases = {('latency {}/s {}'.format(*k[3].split('@')[1].split('/')), k[1]) for k in told if k[0] == 'latency'}
        self.expect(set(drawn) == cases, f'curves {sorted(drawn)} of {sorted(cases)}')
        # At 1M/s and this scale there are 3,000 messages: eleven halvings, the best and the worst.
        counts = {points for (case, _), points in drawn.items() if '1M/s' in case}
        self.expect(counts == {math.floor(math.log2(3000)) + 2}, f'curves at 1M/s have {counts} points')

        for row in json.loads(dom.id('data').text)['rows']:
            for cell in filter(None, row['cells']):
                curve = cell['curve']
                self.expect(curve == sorted(curve), f'{row["case"]}: a curve that falls: {curve}')
                self.expect(not curve or (row['label'] == 'p50' and curve[1] == cell['median']),
                            f'{row["case"]} {row["label"]}: {cell}')

        plots = collections.defaultdict(list)
        for bar in bars:
            width = float(next(bar.all('rect')).attributes['width'])
            plots[bar.parent].append((float(bar.attributes['data-median']), width))
        for lengths in plots.values():
            lengths.sort()
            grows = all(b[1] > a[1] or b[0] < 1.01 * a[0] for a, b in zip(lengths, lengths[1:]))
            self.expect(grows and lengths[0][1] > 0, f'bars do not grow with the figures: {lengths}')
        for svg in dom.root.all('svg'):
            for element in svg.all():
                self.expect(not re.search(r'NaN|undefined|Infinity', f'{element.attributes} {element.text}'),
                            f'<{element.tag}> {element.attributes} {element.text}')
        ratios = sum(1 for bar in bars for _ in bar.all('tspan', 'ratio'))
        compared = sum(1 for k in told if k[0] != 'latency' and k[1] == 'beam')
        self.expect(ratios == compared, f'{ratios} ratios at the bars, of {compared}')

    def check_tables(self, dom, rows, arguments):
        results = [e for e in dom.id('results').all('tr')][1:]
        lines = {(r['workload'], r['workers'], r['metric']) for r in rows}
        self.expect(len(results) == len(lines), f'{len(results)} rows in the table, {len(lines)} measured')
        shown = collections.Counter(f'{float(td.attributes["data-median"]):.1f}' for tr in results
                                    for td in tr.all('td') if 'data-median' in td.attributes)
        self.expect(shown == collections.Counter(r['median'] for r in rows), 'other figures in the table')
        self.expect('target' in dom.id('results').words() and ('met' in dom.id('promises').words()), 'no targets')
        for svg in dom.root.all('svg'):
            named = 'aria-label' in svg.attributes or svg.attributes.get('aria-hidden') == 'true'
            figure = svg.parent if svg.parent.tag == 'figure' else None
            self.expect(named and (figure is None or list(figure.all('table'))),
                        f'a plot without a table: {svg.attributes}')
        for name, words in (('floors', ['stack switch']),
                            ('machine', ['processor', 'CPUs', 'Linux', 'compiler', 'OTP'])):
            text = dom.id(name).words()
            self.expect(all(word in text for word in words), f'{name}: {text}')
        self.expect(shlex.split(dom.id('command').words()) == ['erlking', 'bench', *arguments],
                    f'another command line: {dom.id("command").words()}')
        self.expect('Mike Bostock' in dom.root.words() and 'BSD-3-Clause' in dom.root.words(), 'no licence of D3')

    def check_page(self):
        # Its name would break a page that does not quote, its target holds something, and it is a link.
        page = self.folder / "a page's <" / 'script><b>&amp;.html'
        page.parent.mkdir()
        target = self.folder / 'target.html'
        target.write_text('what was there before', encoding='utf-8')
        page.symlink_to(target)
        arguments = ['pingpong', 'latency', '--vs', 'beam', '--workers', '1,2', '--runs', '2', '--scale', '0.01',
                     '--csv', '--html', str(page)]
        measured = self.bench(*arguments)
        self.expect(measured.returncode == 0, f'erlking bench ends with {measured.returncode}:\n{measured.stderr}')
        left = sorted(path for path in self.folder.rglob('*') if not path.is_dir())
        self.expect(left == sorted([page, target]) and page.is_symlink(), f'left are {left}')
        rows = list(csv.DictReader(measured.stdout.splitlines()))
        self.expect({r['system'] for r in rows} == {'erlking', 'beam'}, f'measured: {measured.stdout}')
        text = target.read_text(encoding='utf-8')
        self.check_nothing_is_loaded(Dom(text))

        dom = self.browse(target)
        self.expect('hidden' in dom.id('error').attributes and not dom.id('error').words(),
                    f'a script failed: {dom.id("error").words()}')
        self.check_nothing_is_loaded(dom)
        self.check_plots(dom, rows)
        self.check_tables(dom, rows, arguments)

        narrow = self.folder / 'narrow.html'
        narrow.write_text(PROBE.format(target.name, NARROW), encoding='utf-8')
        body = next(self.browse(narrow).root.all('body'), Element('', [], None))
        given, needed, bars = (int(body.attributes.get(f'data-{name}', 0)) for name in ('given', 'needed', 'bars'))
        self.expect(bars > 0 and 0 < needed <= given <= NARROW,
                    f'in a frame of {NARROW} pixels {given} are given, {needed} needed for {bars} bars')


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    if not shutil.which(BROWSER):
        print(f'no {BROWSER} on the PATH: tools/setup installs it')
        return 1
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # the browser may still write there
        test = Test(arguments[0], pathlib.Path(folder).resolve())
        test.check_refusals()
        test.check_page()
    for fault in test.faults:
        print(f'html_report: {fault}')
    return 1 if test.faults else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
