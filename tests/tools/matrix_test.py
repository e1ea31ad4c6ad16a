#!/usr/bin/env python3
"""Runs each example, and the benchmark at its smallest scale, with every scheduler, heap and driver there is together.

usage: matrix_test.py [--without WORKLOAD]… ERLKING KV EXAMPLE…
"""

import argparse
import itertools
import pathlib
import re
import socket
import subprocess
import sys
import threading

import examples_test

BENCH_TIMEOUT_S = 300
# How each example is run: its arguments, and as what it must end (examples_test.RUNS).
EXAMPLES = {
    'ping_pong': (['1000'], 0, examples_test.RUNS['ping_pong'][0][2].replace('10000', '1000')),
    'ring': (['100', '100', '3'], 0, rf'30000 hops in {examples_test.TIME} ms, {examples_test.TIME} ns each\n'),
    'parallel_map': examples_test.RUNS['parallel_map'][0],
    'supervised': (['--faults', '99', '--seed', '4', '--segv'], 0, examples_test.supervised(99, 4)),
}
# What a `threads` of 2,000 processes at most leaves out.
TOO_MANY_FOR_THREADS = {'fork-join-64k'}
# Those that make a thousand processes at once: with `threads` that is thousands of threads, so one heap and one driver
# must do. There are virtual machines that do not bear more: on one, a page given back (MADV_DONTNEED, and madvise
# returned 0) still held what it had held, twice in a million threads that several busy programs began; and malloc's
# lists were lost in pages just given back.
THOUSANDS = {'fork-join-1k', 'fork-join-apart', 'pg-join', 'ring-1', 'ring-100', 'sup-simple-100k', 'sup-start'}


def back_ends(erlking):
    """The names of the schedulers, heaps and drivers."""
    told = subprocess.run([erlking, 'bench', '--list'], capture_output=True, text=True, check=True).stdout
    return [re.search(rf'^{kind}: (.+)$', told, re.MULTILINE)[1].split(', ') for kind in ('schedulers', 'heaps', 'io')]


def flags(scheduler, heap, driver):
    return [f'--ek-scheduler={scheduler}', f'--ek-heap={heap}', f'--ek-io={driver}']


def kv_answers(program, arguments):
    """Whether the store keeps what several clients give it, and stops in order."""
    with subprocess.Popen([program, '--port', '0', *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True) as run:
        timer = threading.Timer(examples_test.TIMEOUT_S, run.kill)
        timer.start()
        told, got = '', []
        while (place := re.search(r'127\.0\.0\.1:(\d+)', told)) is None and (line := run.stdout.readline()):
            told += line
        if place:
            clients = [socket.create_connection(('127.0.0.1', int(place[1])), examples_test.TIMEOUT_S)
                       for _ in range(10)]
            for number, client in enumerate(clients):
                client.sendall(b'SET key%d value%d\r\nGET key%d\r\n' % (number, number, number))
            for number, client in enumerate(clients):
                wanted = b'+OK\r\n$6\r\nvalue%d\r\n' % number
                answer = b''
                while len(answer) < len(wanted) and (part := client.recv(len(wanted) - len(answer))):
                    answer += part
                got.append(answer == wanted)
                client.close()
        run.terminate()
        told += run.communicate()[0]
        timer.cancel()
    if all(got) and len(got) == 10 and run.returncode == 0:
        return True
    print(f'kv {arguments}: status {run.returncode}, {got}:\n{told}')
    return False


def workloads(erlking, scheduler, first, left_out):
    """Their names, for the first heap and driver of `scheduler` or for another."""
    told = subprocess.run([erlking, 'bench', '--list'], capture_output=True, text=True, check=True).stdout
    names = re.findall(r'^  ([a-z0-9-]+) ', told.split('schedulers:')[0], re.MULTILINE)
    if scheduler == 'threads':
        left_out = left_out | TOO_MANY_FOR_THREADS | (set() if first else THOUSANDS)
    return [name for name in names if not name.startswith(('idle', 'kv')) and name not in left_out]


def measures(erlking, names, scheduler, heap, driver):
    """Whether each of these workloads gives figures."""
    command = [erlking, 'bench', '--scale', '0.01', '--runs', '1', '--workers', '2', '--scheduler', scheduler,
               '--heap', heap, '--io', driver, '--csv', *names]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=BENCH_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        print(f'{command} has not ended after {BENCH_TIMEOUT_S} s')
        return False
    rows = [line.split(',') for line in ended.stdout.splitlines()[1:]]
    measured = {row[0] for row in rows if row[2] == scheduler and row[3] in ('-', driver) and row[4] == heap}
    missing = set(names) - measured
    if ended.returncode == 0 and not missing:
        return True
    print(f'{command}: status {ended.returncode}, without {sorted(missing)}:\n{ended.stderr}')
    return False


def main(erlking, kv, examples, left_out):
    missing = set(EXAMPLES) | {'echo'}
    missing -= {pathlib.Path(example).name for example in examples}
    if missing:
        print(f'examples not given: {sorted(missing)}')
        return 1
    schedulers, heaps, drivers = back_ends(erlking)
    faults = 0
    for together in itertools.product(schedulers, heaps, drivers):
        first = together[1:] == (heaps[0], drivers[0])
        for example in examples:
            if pathlib.Path(example).name == 'echo':
                faults += not examples_test.echoes(example, flags(*together))
                continue
            arguments, status, output = EXAMPLES[pathlib.Path(example).name]
            faults += examples_test.fails(example, [*arguments, *flags(*together)], status, output)
        faults += not kv_answers(kv, flags(*together))
        faults += not measures(erlking, workloads(erlking, together[0], first, left_out), *together)
    count = len(schedulers) * len(heaps) * len(drivers)
    print(f'{count} combinations of {", ".join(schedulers)}; {", ".join(heaps)}; {", ".join(drivers)}: {faults} faults')
    return 1 if faults else 0


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--without', action='append', default=[])
    parser.add_argument('erlking')
    parser.add_argument('kv')
    parser.add_argument('examples', nargs='+')
    given = parser.parse_args()
    sys.exit(main(given.erlking, given.kv, given.examples, set(given.without)))
