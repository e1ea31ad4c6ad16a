#!/usr/bin/env python3
"""Runs one of examples/ in the ways listed below and checks what it prints and its exit status.

usage: examples_test.py PROGRAM
"""

import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

TIMEOUT_S = 120
TIME = r'\d+(\.\d+)?'
SUPERVISED = ['storage', 'front', 'pool', 'upkeep', 'writer', 'cache', 'listener', 'worker', 'meter', 'sampler',
              'steward']
COLLATZ = ['27: 111 steps', '-1: exception: std::domain_error: negative', '97: 118 steps', '0: timeout', '1: 0 steps']


def supervised(faults, seed):
    """What `supervised` prints when it has made so many faults, the same number for each role."""
    role = rf'(?:{"|".join(SUPERVISED)}) +[16] +{faults // len(SUPERVISED)} +[1-9]\d*\n'
    return (rf'seed {seed}, {faults} faults\nrole +processes +faults +restarts\n(?:{role}){{{len(SUPERVISED)}}}'
            rf'faults: {faults} \(\d+ killed, .*\)\nrequests: [1-9]\d* served, 0 failed, \d+ asked again\n'
            rf'writes: [1-9]\d* acknowledged, 0 lost, 0 written twice; audits: {faults + 1}\n'
            rf'done after {TIME} s, stopped in order\n')


# name: its first word of usage, then (arguments, status, stdout as a regular expression).
RUNS = {
    'ping_pong': [
        ([], 0, rf'10000 round trips, {TIME} µs each\nthe other ended: shutdown\n'),
        (['1', '--ek-workers=1'], 0, rf'1 round trips, {TIME} µs each\nthe other ended: shutdown\n'),
        (['0'], 2, ''),
        (['12x'], 2, ''),
        (['1', '1'], 2, ''),
        (['--ek-workers=none'], 2, ''),
    ],
    'echo': [
        (['--ek-workers=none'], 2, ''),
    ],
    'ring': [
        ([], 0, rf'100000 hops in {TIME} ms, {TIME} ns each\n'),
        (['1', '1', '1'], 0, rf'1 hops in {TIME} ms, {TIME} ns each\n'),
        (['7', '5000', '3', '--ek-workers=4'], 0, rf'105000 hops in {TIME} ms, {TIME} ns each\n'),
        (['100', '1'], 0, rf'1000 hops in {TIME} ms, {TIME} ns each\n'),
        (['0'], 2, ''),
        (['-3'], 2, ''),
        (['1', '500001'], 2, ''),
        (['1', '1', '1', '1'], 2, ''),
    ],
    'parallel_map': [
        ([], 1, re.escape('\n'.join(COLLATZ) + '\n')),
        (['27', '97'], 0, '27: 111 steps\n97: 118 steps\n'),
        ([str(n) for n in (1, 2, 4, 8)] * 25, 0, '(1: 0 steps\n2: 1 steps\n4: 2 steps\n8: 3 steps\n){25}'),
        (['-1', '--ek-workers=1'], 1, '-1: exception: std::domain_error: negative\n'),
        (['1000000001'], 2, ''),
        (['x'], 2, ''),
    ],
    'supervised': [
        (['--quick', '--seed', '1'], 0, supervised(55, 1)),
        (['--faults', '33', '--seed', '2', '--ek-workers=1', '--sync'], 0, supervised(33, 2)),
        (['--faults', '22', '--seed', '3', '--ek-scheduler=threads'], 0, supervised(22, 3)),
        (['--faults', '10'], 2, ''),
        (['--seconds', '0'], 2, ''),
        (['--seed'], 2, ''),
        (['7'], 2, ''),
    ],
}
# name: arguments of a run that goes on, the line after which it gets SIGINT, and the end of its output. Its status: 0.
INTERRUPTED = {
    'supervised': (['--faults', '1000000'], '   100 faults',
                   rf'(?s).*, 0 lost, 0 written twice.*interrupted after {TIME} s, stopped in order\n'),
}


def interrupt(program, arguments, line, output):
    """Whether it stops in order."""
    with subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        timer = threading.Timer(TIMEOUT_S, run.kill)
        timer.start()
        printed = ''
        while not printed.startswith(line) and (printed := run.stdout.readline()):
            pass
        run.send_signal(signal.SIGINT)
        rest, errors = run.communicate()
        timer.cancel()
    if run.returncode == 0 and re.fullmatch(output, rest):
        return True
    print(f'{program} {arguments}, interrupted: status {run.returncode}:\n{rest}{errors}')
    return False


def echoes(program, arguments):
    """Whether many peers at once get back what they send; the server is ended by a signal."""
    with subprocess.Popen([program, '0', *arguments], stderr=subprocess.PIPE, text=True) as run:
        timer = threading.Timer(TIMEOUT_S, run.kill)
        timer.start()
        told = run.stderr.readline()
        place = re.fullmatch(r'listening at 127\.0\.0\.1:(\d+)\n', told)
        got = []
        if place:
            peers = [socket.create_connection(('127.0.0.1', int(place[1])), TIMEOUT_S) for _ in range(50)]
            for number, peer in enumerate(peers):
                peer.sendall(b'%d' % number)
            got = [peer.recv(100) for peer in peers]
            for peer in peers:
                peer.close()
        run.terminate()
        run.communicate()
        timer.cancel()
    if got == [b'%d' % number for number in range(50)]:
        return True
    print(f'{program} {arguments}: {told}{got}')
    return False


def fails(program, arguments, status, output):
    """Runs it so, and tells what is not as it should be."""
    name = pathlib.Path(program).name
    try:
        ended = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S,
                               stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        print(f'{name} {arguments} has not ended after {TIMEOUT_S} s')
        return True
    told = status != 2 or f'usage: {name} ' in ended.stderr or '--ek-' in ended.stderr
    if ended.returncode == status and re.fullmatch(output, ended.stdout) and told:
        return False
    print(f'{name} {arguments}: status {ended.returncode}, not {status}, or not what it should print:\n'
          f'{ended.stdout}{ended.stderr}')
    return True


def main(program):
    name = pathlib.Path(program).name
    helped = [] if name == 'echo' else [(['--help'], 0, rf'(?s)usage: {name} .*--ek-workers.*')]
    faults = sum(fails(program, *run) for run in [*RUNS[name], *helped])
    if name in INTERRUPTED and not interrupt(program, *INTERRUPTED[name]):
        faults += 1
    if name == 'echo':
        faults += sum(not echoes(program, [f'--ek-io={driver}', f'--ek-scheduler={scheduler}'])
                      for driver in ('uring', 'epoll') for scheduler in ('steal', 'threads'))
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
