#!/usr/bin/env python3
"""Runs a program that is a tree, and looks at it by `erlking tree`: as text, as JSON, as a picture; by `erlking memory`
and `erlking flight`; and misuse.

usage: tree_cli_test.py ERLKING PROGRAM
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

ERLKING, PROGRAM = '', ''
TIMEOUT_S = 120


def run(*arguments, **environment):
    clean = {name: value for name, value in os.environ.items() if name != 'ERLKING_INSPECT'}
    return subprocess.run([ERLKING, *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT_S,
                          env={**clean, **environment}, stdin=subprocess.DEVNULL, check=False)


class TreeCli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix='tree_cli_'))
        cls.socket = cls.folder / 'shop'
        cls.program = subprocess.Popen([PROGRAM, f'--ek-inspect={cls.socket}', '--ek-flight-recorder=on', '30'],
                                       stdout=subprocess.PIPE, text=True)
        assert cls.program.stdout.readline() == 'up\n'

    @classmethod
    def tearDownClass(cls):
        cls.program.terminate()
        assert cls.program.wait(TIMEOUT_S) == 0
        cls.program.stdout.close()
        assert not cls.socket.exists()
        shutil.rmtree(cls.folder)

    def succeed(self, *arguments, **environment):
        ended = run('tree', *arguments, '--timeout', 20000, **environment)
        self.assertEqual((ended.returncode, ended.stderr), (0, ''))
        return ended.stdout

    def test_text(self):
        text = self.succeed(self.socket, '--children', 10)
        lines = text.splitlines()
        self.assertRegex(lines[0], r'^1 tree, \d+ processes alive$')
        self.assertRegex(lines[1], r'^child +pid +runs +name +state +mailbox +restarts')
        self.assertRegex(text, r'\n├─ store +<[\d.]+> +Store +store +waiting +0/1024 +1\b')
        self.assertRegex(text, r'\n│  ├─ bob +undefined')
        self.assertRegex(text, r'\n│  └─ deaf .* 900/1024 ')
        self.assertIn('“at the till”', text)
        self.assertIn(r'\x0a\xff', text)
        self.assertIn('\n│  └─ … and 20 more\n', text)
        self.assertLessEqual(max(map(len, lines)), 100)

    def test_json_by_the_environment(self):
        tree = json.loads(self.succeed('--json', ERLKING_INSPECT=str(self.socket)))
        root, = tree['roots']
        self.assertEqual((root['name'], root['strategy'], root['type']), ('shop', 'one_for_one', 'supervisor'))
        store, staff, connections, _ = root['children']
        self.assertEqual((store['id'], store['restarts'], store['answer']), ('store', 1, 'come'))
        self.assertEqual([each['state'] for each in staff['children']], ['running', 'running', 'undefined', 'running'])
        self.assertEqual((connections['children_total'], len(connections['children'])), (30, 30))

    def test_memory(self):
        ended = run('memory', self.socket, '--timeout', 20000)
        self.assertEqual((ended.returncode, ended.stderr), (0, ''))
        lines = ended.stdout.splitlines()
        self.assertRegex(lines[0], r'^\d+ processes; 9\d\d messages wait; heap for messages: ')
        self.assertRegex(lines[1], r'^ +waiting +at most +messages +held +stack +pid +name +runs$')
        self.assertRegex(lines[2], r'^ +\d+ KiB +- +900 +0 B +\d+ B +<[\d.]+> +deaf ')
        ended = run('memory', '--json', '--processes', 1, '--timeout', 20000, ERLKING_INSPECT=str(self.socket))
        holder, = json.loads(ended.stdout)['holders']
        self.assertEqual((holder['name'], holder['mailbox_depth'], holder['answered']), ('deaf', 900, True))
        self.assertGreater(holder['queued_bytes'], 900 * 32)
        self.assertEqual(holder['held_bytes'], 0)

    def test_flight(self):
        ended = run('flight', self.socket, '--events', 4000)
        self.assertEqual((ended.returncode, ended.stderr), (0, ''))
        self.assertRegex(ended.stdout.splitlines()[0], r'^\d+ events$')
        self.assertRegex(ended.stdout, r'send .*<[\d.]+>.*Crash')
        events = json.loads(run('flight', '--json', self.socket, '--events', 20).stdout)['events']
        self.assertEqual(len(events), 20)
        self.assertEqual([-event['ago_ns'] for event in events], sorted(-event['ago_ns'] for event in events))
        off = self.folder / 'off'
        with subprocess.Popen([PROGRAM, f'--ek-inspect={off}'], stdout=subprocess.PIPE) as without:
            without.stdout.readline()
            ended = run('flight', off)
            without.terminate()
        self.assertEqual((ended.returncode, ended.stdout), (1, ''))
        self.assertIn('--ek-flight-recorder=on', ended.stderr)

    def test_svg(self):
        if shutil.which('dot') is None:
            self.skipTest('no Graphviz here')
        file = self.folder / 'tree.svg'
        self.assertEqual(self.succeed(self.socket, '--svg', file), '')
        text = ''.join(xml.etree.ElementTree.parse(file).getroot().itertext())
        for part in ('shop', 'store', 'deaf', 'mailbox 900/1024', 'undefined', '1 restart', 'simple_one_for_one',
                     'ann "the <first>" & only', 'at the till'):
            self.assertIn(part, text)
        self.assertEqual(len([*self.folder.glob('tree.svg*')]), 1)

    def test_svg_without_dot(self):
        file = self.folder / 'none.svg'
        ended = run('tree', self.socket, '--svg', file, PATH='/nonexistent')
        self.assertEqual((ended.returncode, ended.stdout), (1, ''))
        self.assertIn('graphviz', ended.stderr)
        self.assertFalse([*self.folder.glob('none.svg*')])
        ended = run('tree', self.socket, '--svg', '/nonexistent/folder/tree.svg')
        self.assertEqual(ended.returncode, 1)
        self.assertIn('/nonexistent/folder/tree.svg: ', ended.stderr)

    def test_failures_are_one_line_and_status_1(self):
        old = self.folder / 'old'
        with subprocess.Popen([PROGRAM, f'--ek-inspect={old}'], stdout=subprocess.PIPE) as killed:
            killed.stdout.readline()
            killed.kill()
        for path, why in ((self.folder / 'none', 'no such socket'), (old, 'has ended'), (self.folder, ''),
                          ('x' * 200, 'too long')):
            for command in ('tree', 'memory', 'flight'):
                ended = run(command, path)
                self.assertEqual((ended.returncode, ended.stdout), (1, ''))
                self.assertRegex(ended.stderr, rf'^erlking {command}: .*{why}.*\n$')

    def test_misuse_is_one_line_and_status_2(self):
        for arguments in ((), ('a', 'b'), ('--nonsense',), ('a', '--json', '--svg', 'f'), ('a', '--children', '-1'),
                          ('a', '--timeout', '0'), ('a', '--svg')):
            ended = run('tree', *arguments)
            self.assertEqual((ended.returncode, ended.stdout), (2, ''), arguments)
            self.assertRegex(ended.stderr, r'^erlking: .*\n$')
        for arguments in (('memory',), ('memory', 'a', '--processes', '0'), ('memory', 'a', '--svg', 'f'), ('flight',),
                          ('flight', 'a', '--events', '100001'), ('flight', 'a', 'b')):
            ended = run(*arguments)
            self.assertEqual((ended.returncode, ended.stdout), (2, ''), arguments)
            self.assertRegex(ended.stderr, r'^erlking: .*\n$')

    def test_another_program_at_the_same_path_does_not_start(self):
        ended = subprocess.run([PROGRAM, f'--ek-inspect={self.socket}'], capture_output=True, text=True,
                               timeout=TIMEOUT_S, check=False)
        self.assertNotEqual(ended.returncode, 0)
        self.assertIn('another program answers there', ended.stderr)
        self.succeed(self.socket)

    def test_help(self):
        ended = run('tree', '--help')
        self.assertEqual(ended.returncode, 0)
        for flag in ('--json', '--svg', '--children', '--timeout', '--ek-inspect'):
            self.assertIn(flag, ended.stdout)


if __name__ == '__main__':
    ERLKING, PROGRAM = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])
