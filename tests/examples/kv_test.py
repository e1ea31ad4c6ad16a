#!/usr/bin/env python3
"""Runs examples/kv as its users do: against redis-server's replies, under redis-benchmark, killed, with a full disk.

usage: kv_test.py [--kills N] [--only NAME] [--fsync-fails LIBRARY] PROGRAM

Each function named test_… is one case, run on each driver or scheduler where that matters. Without redis-server,
redis-cli or redis-benchmark the cases that need them are left out, and say so.
"""

import argparse
import glob
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

TIMEOUT_S = 60


class Failure(Exception):
    pass


def expect(got, wanted, what=''):
    if got != wanted:
        raise Failure(f'{what}: got {got!r:.600}, not {wanted!r:.600}')


def encode(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b'*%d\r\n' % len(words) + b''.join(b'$%d\r\n%s\r\n' % (len(w), w) for w in words)


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile('rb')

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        line = self.file.readline()
        if not line.endswith(b'\r\n'):
            raise EOFError
        kind, rest = line[:1], line[1:-2]
        if kind == b'+':
            return rest.decode()
        if kind == b'-':
            return Exception(rest.decode(errors='replace'))
        if kind == b':':
            return int(rest)
        count = int(rest)
        if count < 0:
            return None
        if kind == b'$':
            data = self.file.read(count + 2)
            if len(data) != count + 2:
                raise EOFError
            return data[:-2]
        return [self.read() for _ in range(count)]

    def ask(self, *words):
        self.send(encode(*words))
        return self.read()

    def rest(self):
        return self.file.read()

    def close(self):
        self.file.close()
        self.socket.close()


class Server:
    """The program, ready; its port."""

    def __init__(self, *arguments, limit=None, env=None):
        def prepare():
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        # ThreadSanitizer, with others at work, took 20 s to free what lay in mailboxes at the end, blocks of 50 MB.
        patience = ['--ek-stop=50000'] if Server.sanitized else []
        self.run = subprocess.Popen([Server.program, '--port', '0', *patience, *map(str, arguments)],
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=prepare,
                                    env={**os.environ, **(env or {})})
        timer = threading.Timer(TIMEOUT_S, self.run.kill)
        timer.start()
        line = self.run.stdout.readline()
        timer.cancel()
        match = re.fullmatch(r'ready to accept connections at 127\.0\.0\.1:(\d+)\n', line)
        if not match:
            self.run.kill()
            raise Failure(f'{arguments}: {line}{self.run.communicate()[1]}')
        self.port = int(match[1])

    def client(self):
        return Client(self.port)

    def end(self, how=signal.SIGTERM):
        """Its status and what it logged."""
        if how:
            self.run.send_signal(how)
        try:
            _, errors = self.run.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired as late:
            self.run.kill()
            raise Failure(f'it does not end: {self.run.communicate()[1]}') from late
        return self.run.returncode, errors

    def stop(self):
        status, errors = self.end()
        expect(status, 0, f'status after SIGTERM ({errors})')
        return errors

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.run.poll() is None:
            self.run.kill()
            log = self.run.communicate()[1]
            if error[0]:
                print(log, end='')


class Folder:
    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix='kv-test-')
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path)


class Redis:
    """redis-server, ready."""

    def __enter__(self):
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            self.port = probe.getsockname()[1]
        self.run = subprocess.Popen(['redis-server', '--port', str(self.port), '--save', '', '--appendonly', 'no',
                                     '--dir', tempfile.gettempdir()],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            try:
                Client(self.port).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise Failure('redis-server does not start')

    def __exit__(self, *_):
        self.run.kill()
        self.run.wait()


def shown(reply):
    if isinstance(reply, Exception):
        return f'-{reply}'
    if isinstance(reply, list):
        return [shown(one) for one in reply]
    return reply


COMMANDS = r'''
PING|PING hello|PING a b|ECHO hi|ECHO|SELECT 0|SELECT 99|SELECT x|NOSUCH|NOSUCH a 'b c'|nosuch
SET a 1|GET a|GET a b|SET a|SET a 2 NX|SET b 3 NX|SET c 1 XX|SET a 5 XX|GET a|SET a 1 EX|SET a 1 EX x|SET a 1 EX 0
SET a 1 EX -1|SET a 1 PX 99999999999999999999|SET a 1 EX 9223372036854775807|SET a 1 NX XX|SET a 1 EX 10 PX 10
SET a 1 EX 100|TTL a|SET a 2 KEEPTTL|TTL a|SET a 3|TTL a|PTTL a|TTL none|PTTL none|SET a 1 PX 100000|TTL a|SET a 9
INCR a|DECR a|INCRBY a 10|INCRBY a x|INCRBY a 9223372036854775807|SET n notnum|INCR n|SET n 01|INCR n|SET n -0|INCR n
SET n 9223372036854775807|INCR n|SET n -9223372036854775808|DECR n|INCRBY n -1|INCR fresh|SET e ""|INCR e|STRLEN e
APPEND s abc|APPEND s def|GET s|STRLEN s|STRLEN none|STRLEN a b|APPEND l
MSET k1 v1 k2 v2 k3 v3|MGET k1 k2 k3 none|MSET k1|MSET k1 v1 k2|MGET|DEL k1 k2 none|EXISTS k3 k3 none|EXISTS|DEL
EXPIRE k3 100|TTL k3|EXPIRE k3 x|EXPIRE none 10|EXPIRE k3 200 NX|EXPIRE k3 200 XX|EXPIRE k3 100 GT|EXPIRE k3 50 LT
TTL k3|EXPIRE k3 10 NX GT|EXPIRE k3 10 GT LT|EXPIRE k3 10 ZZ|EXPIRE k3 9223372036854775807|EXPIRE k3 -1|EXISTS k3
LPUSH l a b c|RPUSH l d|LRANGE l 0 -1|LRANGE l 1 2|LRANGE l -2 -1|LRANGE l 5 10|LRANGE l x 1|LRANGE none 0 -1
LPUSH l|LPOP l|RPOP l|LPOP l 2|LPOP l 2|LPOP none|LPOP none 2|RPUSH l 1 2 3|LPOP l -1|LPOP l x|LPOP l 0|LPOP l 1 1
RPOP l 10|EXISTS l|LPUSH a x|GET l|RPUSH l x|GET l|INCR l|APPEND l x|STRLEN l|SADD l x|HSET l a b|ZADD l 1 a|TTL l
SADD s1 a b c a|SADD s1 a|SISMEMBER s1 a|SISMEMBER s1 z|SISMEMBER none a|SADD s1|SPOP none|SPOP none 3|SPOP s1 -1
SPOP s1 x|SPOP s1 1 1|SPOP s1 0|LPUSH s1 x|SADD one only|SPOP one|EXISTS one|SADD one only|SPOP one 5|EXISTS one
HSET h a 1 b 2|HSET h a 3|HGET h a|HGET h z|HGET none a|HSET h a|HSET h a 1 b|HGETALL none|HGETALL h|HGET s1 a
HSET h|HGETALL s1|HSET h c "with space"|HGET h c
ZADD z 1 a 2 b 3 c|ZADD z 1 a|ZADD z NX 5 a|ZADD z XX 5 a|ZADD z XX 1 new|ZADD z GT 1 a|ZADD z LT 1 a|ZADD z CH 9 a
ZADD z x a|ZADD z 1|ZADD z NX XX 1 a|ZADD z GT LT 1 a|ZADD z INCR 1 a|ZADD z INCR 1 a 2 b|ZADD z inf i|ZADD z -inf j
ZADD z INCR -inf i|ZADD z nan a|ZADD none XX 1 a|ZADD none XX INCR 1 a|ZADD z 1.5 f 3.14159 g 1e20 h 0.1 k
ZPOPMIN z|ZPOPMIN z 2|ZPOPMIN z 100|ZPOPMIN z|ZPOPMIN none|ZPOPMIN none 2|ZADD z 1 a|ZPOPMIN z -1|ZPOPMIN z x
ZPOPMIN z 0|ZPOPMIN z 1 1|ZPOPMIN h|MGET a h s1 none
SCAN x|SCAN 0 COUNT|SCAN 0 COUNT x|SCAN 0 COUNT 0|SCAN 0 FOO bar|CONFIG GET save|CONFIG GET appendonly|CONFIG
CONFIG GET|CONFIG NOSUCH x|PUBLISH nobody x|PUBLISH a|UNSUBSCRIBE|UNSUBSCRIBE x y|SUBSCRIBE
FLUSHALL x|FLUSHALL ASYNC SYNC|DBSIZE x|DBSIZE|FLUSHALL|DBSIZE|FLUSHALL SYNC|FLUSHALL ASYNC|BGREWRITEAOF x|COMMAND FOO
SHUTDOWN foo
'''


def words_of(line):
    return [w[1:-1] if w[:1] in '"\'' else w for w in re.findall(r'"[^"]*"|\'[^\']*\'|\S+', line)]


def normal(words, reply):
    reply = shown(reply)
    if words[0].upper() == 'HGETALL' and isinstance(reply, list):
        return sorted(zip(reply[::2], reply[1::2]))
    if words[0].upper() == 'PTTL' and isinstance(reply, int) and reply > 0:
        return reply // 1000
    return reply


def test_replies_are_those_of_redis(flags):
    with Redis() as redis, Server(*flags, '--shards', 3) as server:
        theirs, ours = Client(redis.port), server.client()
        for line in COMMANDS.replace('\n', '|').split('|'):
            words = words_of(line)
            if not words:
                continue
            replies = []
            for client in (ours, theirs):
                client.send(encode(*words))
                # UNSUBSCRIBE answers for each channel
                count = max(1, len(words) - 1) if words[0] == 'UNSUBSCRIBE' else 1
                replies.append([normal(words, client.read()) for _ in range(count)])
            expect(*replies, line)
        for _ in range(60):  # a few at a time, of any kind, and pipelined
            batch = [random_command() for _ in range(random.randrange(1, 40))]
            for client in (ours, theirs):
                client.send(b''.join(encode(*words) for words in batch))
            for words in batch:
                expect(normal(words, ours.read()), normal(words, theirs.read()), f'{words} of {batch}')
        server.stop()


def random_command():
    key = lambda: 'k%d' % random.randrange(12)
    value = lambda: random.choice(['1', '-5', 'text', 'x' * random.randrange(200), '3.5'])
    some = lambda make: [make() for _ in range(random.randrange(1, 5))]
    return random.choice([
        lambda: ['SET', key(), value()], lambda: ['GET', key()], lambda: ['INCR', key()], lambda: ['DEL', *some(key)],
        lambda: ['MSET', *sum(([key(), value()] for _ in range(random.randrange(1, 6))), [])],
        lambda: ['MGET', *some(key)], lambda: ['EXISTS', *some(key)], lambda: ['APPEND', key(), value()],
        lambda: ['LPUSH', key(), *some(value)], lambda: ['RPUSH', key(), *some(value)], lambda: ['LPOP', key()],
        lambda: ['LRANGE', key(), str(random.randrange(-5, 5)), str(random.randrange(-5, 5))],
        lambda: ['SADD', key(), *some(value)], lambda: ['SISMEMBER', key(), value()],
        lambda: ['HSET', key(), value(), value()], lambda: ['HGET', key(), value()], lambda: ['DBSIZE'],
        lambda: ['ZADD', key(), str(random.randrange(5)), value()], lambda: ['ZPOPMIN', key()],
        lambda: ['RPOP', key(), '2'], lambda: ['EXPIRE', key(), '100'], lambda: ['TTL', key()], lambda: ['PING'],
        lambda: ['STRLEN', key()], lambda: ['NOSUCH', key()], lambda: ['GET'],
    ])()


RAW = [
    b'PING\r\n', b'PING\n', b'\r\n\r\nPING\r\n', b'SET q "a b\\x41\\n"\r\nGET q\r\n', b"SET q 'it\\'s'\r\nGET q\r\n",
    b'GET "unbalanced\r\n', b'GET "a"b\r\n', b'*0\r\n*-1\r\nPING\r\n', b'*x\r\n', b'*1\r\nPING\r\n', b'*1\r\n$x\r\n',
    b'*1\r\n$-1\r\n', b'*1\r\n$536870913\r\n', b'*2147483648\r\n', b'*01\r\n', b'*1\r\n$04\r\nPING\r\n', b'*+1\r\n',
    b'*' + b'1' * 70000, b'*1\r\n$' + b'1' * 70000, b'A' * 70000, b'*1\r\n:4\r\n', b'*1\r\n$4\r\nPINGxx',
    b'*1\r\n$4\r\nPING\r\n*1\r\n!\r\n', b'*1\r\n$0\r\n\r\n', b'*2\r\n$4\r\nECHO\r\n$3\r\na\r\n\r\n',
    b'QUIT\r\nPING\r\n', b'*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*1\r\n\r\n', b'\x00\xff\r\n', b'   \r\nPING\r\n',
    b'*1\r\n$5\r\nNO\r\nX\r\n',
]


def test_malformed_input_gets_the_errors_of_redis(flags):
    with Redis() as redis, Server(*flags) as server:
        for raw in RAW:
            got = []
            for port in (server.port, redis.port):
                client = Client(port)
                try:
                    client.send(raw)
                    client.socket.shutdown(socket.SHUT_WR)
                    got.append(client.rest())
                except ConnectionError:
                    got.append('reset')
                client.close()
            if 'reset' not in got:  # whether input that is left unread resets the connection is chance
                expect(*got, repr(raw[:60]))
        server.stop()


def test_input_comes_byte_by_byte(flags):
    with Server(*flags) as server:
        client = server.client()
        for byte in encode('SET', 'k', 'v' * 50) + b'GET k\r\n' + encode('MGET', 'k', 'none'):
            client.send(bytes([byte]))
        expect([client.read() for _ in range(3)], ['OK', b'v' * 50, [b'v' * 50, None]])
        server.stop()


def test_large_values(flags):
    with Server(*flags) as server:
        client = server.client()
        value = os.urandom(1 << 20) * 40
        expect(client.ask('SET', 'k', value), 'OK')
        expect(client.ask('GET', 'k') == value, True, 'what came back is what went in')
        # Who announces much and sends nothing costs nothing.
        idle = [server.client() for _ in range(50)]
        for one in idle:
            one.send(b'*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc')
        expect(client.ask('PING'), 'PONG')
        with open(f'/proc/{server.run.pid}/status', encoding='ascii') as status:
            resident = int(re.search(r'VmRSS:\s+(\d+)', status.read())[1])
        expect(resident < 600_000 or Server.sanitized, True, f'{resident} KiB for what has not come')
        server.stop()


def test_many_peers_at_once(flags):
    with Server(*flags) as server:
        clients = [server.client() for _ in range(200)]
        for n, client in enumerate(clients):
            client.send(encode('SET', f'k{n}', n) + encode('GET', f'k{n}'))
        for n, client in enumerate(clients):
            expect([client.read(), client.read()], ['OK', b'%d' % n])
        expect(clients[0].ask('DBSIZE'), 200)
        found, cursor = set(), b'0'
        while True:
            cursor, keys = clients[0].ask('SCAN', cursor, 'COUNT', 7, 'MATCH', 'k*')
            found.update(keys)
            if cursor == b'0':
                break
        expect(len(found), 200, 'keys SCAN has found')
        server.stop()


def test_expiry(flags):
    with Server(*flags) as server:
        client = server.client()
        client.ask('SET', 'a', 1, 'PX', 50)
        for n in range(100):
            client.ask('SET', f'gone{n}', 1, 'PX', 30)
        time.sleep(0.1)
        expect(client.ask('GET', 'a'), None)
        for _ in range(100):  # those nobody asks for are swept
            if client.ask('DBSIZE') == 0:
                break
            time.sleep(0.1)
        expect(client.ask('DBSIZE'), 0, 'keys that should be gone')
        server.stop()


def test_limits(flags):
    with Server(*flags, '--maxmemory', '2mb', '--maxclients', 3) as server:
        client = server.client()
        replies = [shown(client.ask('SET', f'k{n}', 'x' * 1000)) for n in range(4000)]
        oom = "-OOM command not allowed when used memory > 'maxmemory'."
        expect({'OK', oom}, set(replies), 'replies at the limit')
        expect(client.ask('GET', 'k0'), b'x' * 1000)
        expect(shown(client.ask('MSET', 'a', 1, 'b', 2)), oom)
        for n in range(4000):
            client.ask('DEL', f'k{n}')
        expect(client.ask('SET', 'a', 1), 'OK')
        more = [server.client() for _ in range(2)]
        expect(more[1].ask('PING'), 'PONG')
        over = server.client()
        expect(over.rest(), b'-ERR max number of clients reached\r\n')
        more[1].close()
        for _ in range(100):
            again = server.client()
            try:
                if again.ask('PING') == 'PONG':
                    break
            except (EOFError, OSError):
                time.sleep(0.05)
        else:
            raise Failure('no place after one has left')
        server.stop()


def test_who_is_accepted_counts_as_a_client_before_its_process_begins(flags):
    with Server(*flags, '--maxclients', 3) as server:
        watch = server.client()
        for _ in range(200):
            crowd = [server.client() for _ in range(4)]
            served = 0
            for client in crowd:
                try:
                    served += client.ask('PING') == 'PONG'
                except (EOFError, OSError):  # refused, and the PING came to a closed socket
                    pass
            expect(served, 2, 'clients served beside the first')
            for client in crowd:
                client.close()
            until = time.time() + TIMEOUT_S
            while b'connected_clients:1\r' not in watch.ask('INFO', 'clients'):
                expect(time.time() < until, True, 'places become free')
        server.stop()


def test_silent_and_half_open_peers(flags):
    with Server(*flags, '--timeout', 1) as server:
        silent, half = server.client(), server.client()
        silent.send(b'*2\r\n$3\r\nGE')
        half.send(encode('SET', 'k', 'v'))
        half.socket.shutdown(socket.SHUT_WR)  # its last reply comes all the same
        expect(half.rest(), b'+OK\r\n')
        expect(silent.rest(), b'', 'a silent peer')
        reset = server.client()
        reset.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        reset.send(encode('GET', 'k') * 1000)
        reset.close()
        expect(server.client().ask('GET', 'k'), b'v')
        server.stop()


def test_a_slow_reader_is_slowed(flags):
    with Server(*flags) as server:
        client = server.client()
        client.ask('SET', 'k', 'x' * 100_000)
        slow = server.client()
        slow.socket.settimeout(1)
        sent = 0
        try:
            while sent < 50_000_000:  # of requests: 200 GB of replies, were they kept
                sent += slow.socket.send(encode('GET', 'k') * 100)
        except TimeoutError:
            pass
        expect(sent < 50_000_000, True, 'its requests wait')
        expect(client.ask('PING'), 'PONG')
        with open(f'/proc/{server.run.pid}/status', encoding='ascii') as status:
            resident = int(re.search(r'VmRSS:\s+(\d+)', status.read())[1])
        expect(resident < 400_000 or Server.sanitized, True, f'{resident} KiB resident')
        server.stop()


def test_publish_and_subscribe(flags):
    with Server(*flags, '--subscriber-buffer', '1mb') as server:
        subscriber, slow, publisher = server.client(), server.client(), server.client()
        expect(subscriber.ask('SUBSCRIBE', 'news', 'more'), [b'subscribe', b'news', 1])
        expect(subscriber.read(), [b'subscribe', b'more', 2])
        expect(slow.ask('SUBSCRIBE', 'news'), [b'subscribe', b'news', 1])
        expect(publisher.ask('PUBLISH', 'news', 'hello'), 2)
        expect(subscriber.read(), [b'message', b'news', b'hello'])
        expect(shown(subscriber.ask('GET', 'k'))[:28], "-ERR Can't execute 'get': on")
        expect(subscriber.ask('PING'), [b'pong', b''])
        sent = 0
        while publisher.ask('PUBLISH', 'news', 'x' * 100_000) == 2:  # slow reads nothing
            expect(subscriber.read()[0], b'message')
            sent += 1
            expect(sent < 2000, True, 'a subscriber that reads nothing is dropped')
        try:
            while slow.file.read(1 << 20):
                pass
        except ConnectionError:
            pass
        while publisher.ask('PUBLISH', 'more', 'end') != 1:
            pass
        while subscriber.read() != [b'message', b'more', b'end']:
            pass
        expect(subscriber.ask('UNSUBSCRIBE', 'news'), [b'unsubscribe', b'news', 1])
        expect(subscriber.ask('UNSUBSCRIBE'), [b'unsubscribe', b'more', 0])
        expect(subscriber.ask('SET', 'k', 'v'), 'OK')
        expect(publisher.ask('PUBLISH', 'news', 'hello'), 0)
        server.stop()


def test_a_subscriber_that_goes_leaves_nothing(flags):
    def descriptors():
        return len(os.listdir(f'/proc/{server.run.pid}/fd'))
    with Server(*flags) as server:
        server.client().ask('PING')
        before = descriptors()
        for n in range(20):
            client = server.client()
            expect(client.ask('SUBSCRIBE', 'news'), [b'subscribe', b'news', 1])
            if n % 2:
                expect(client.ask('QUIT'), 'OK')
                expect(client.rest(), b'', 'the end after QUIT')
            client.close()
        until = time.monotonic() + 30
        while descriptors() > before + 5 and time.monotonic() < until:
            time.sleep(0.01)
        expect(descriptors() <= before + 5, True, 'descriptors left')  # of another worker's driver
        server.stop()


def test_a_subscriber_that_does_not_read_its_replies_is_not_read_from(flags):
    with Server(*flags, '--subscriber-buffer', '1mb') as server:
        client = server.client()
        client.ask('SET', 'k', 'x' * 100_000)
        client.ask('SUBSCRIBE', 'a')
        client.ask('UNSUBSCRIBE', 'a')
        asked = b''.join(encode('GET', 'k') for _ in range(200))
        client.socket.settimeout(0.3)
        sent = 0
        try:
            while sent < 50_000:
                client.socket.sendall(asked)
                sent += 200
        except TimeoutError:
            pass
        time.sleep(0.5)  # for what it reads all the same
        with open(f'/proc/{server.run.pid}/status', encoding='utf-8') as status:
            memory = next(int(line.split()[1]) for line in status if line.startswith('VmRSS'))
        expect(memory < (2_500_000 if Server.sanitized else 500_000), True, f'{memory} KiB after {sent} requests')
        client.close()
        server.stop()


def test_files_of_others_are_left_alone(flags):
    with Folder() as folder:
        others = ['log.err', 'snapshot.old', 'log.1.bak', 'snapshot.', 'other.7.new']
        for name in others:
            pathlib.Path(folder, name).write_text('of others')
        pathlib.Path(folder, 'snapshot.9.new').write_text('not finished')
        with Server(*flags, '--dir', folder) as server:
            client = server.client()
            for _ in range(2):
                client.ask('INCR', 'n')
                client.ask('BGREWRITEAOF')
                while b'aof_rewrite_in_progress:1' in client.ask('INFO'):
                    pass
            server.stop()
        left = sorted(os.listdir(folder))
        expect([name for name in left if name in others], sorted(others))
        expect(len(left), len(others) + 2, f'{left}: a snapshot and a log besides')
        with Server(*flags, '--dir', folder) as server:
            expect(server.client().ask('GET', 'n'), b'2')
            server.stop()


def test_a_large_set_is_quickly_made(flags):
    with Server(*flags) as server:
        client = server.client()
        expect(client.ask('SADD', 's', *range(300_000)), 300_000)
        server.stop()


def test_redis_cli_and_shutdown(flags):
    with Server(*flags) as server:
        cli = ['redis-cli', '-p', str(server.port)]
        expect(subprocess.check_output([*cli, 'SET', 'k', 'v'], text=True), 'OK\n')
        expect('db0:keys=1' in subprocess.check_output([*cli, 'INFO'], text=True), True)
        subprocess.check_output([*cli, 'SHUTDOWN'])
        expect(server.end(None)[0], 0, 'status after SHUTDOWN')


def test_redis_benchmark(flags):
    with Server(*flags) as server:
        # As it comes, but for the number of requests.
        run = subprocess.run(['redis-benchmark', '-p', str(server.port), '-q', '-n', '1500'], capture_output=True,
                             text=True, timeout=TIMEOUT_S, check=False)
        expect((run.returncode, 'rror' in run.stdout + run.stderr), (0, False), run.stdout[-300:] + run.stderr)
        run = subprocess.run(['redis-benchmark', '-p', str(server.port), '-q', '-n', '5000', '-P', '16', '-t',
                              'set,get,incr,lpush,lpop,hset'], capture_output=True, text=True, timeout=TIMEOUT_S,
                             check=False)
        expect(run.returncode, 0, run.stderr)
        server.stop()


# --- what survives ---

def fill(client):
    for words in (['SET', 's', 'v'], ['RPUSH', 'l', *'abc'], ['SADD', 'set', *'xyz'], ['SPOP', 'set'],
                  ['HSET', 'h', 'f', 'v', 'g', 'w'], ['ZADD', 'z', '1.5', 'a', '2', 'b', '-3', 'c'], ['ZPOPMIN', 'z'],
                  ['MSET', *sum(([f'm{n}', n] for n in range(50)), [])], ['DEL', 'm0', 'm1'], ['INCR', 'n'],
                  ['INCRBY', 'n', 41], ['APPEND', 's', 'w'], ['LPOP', 'l'], ['SET', 'e', 1, 'EX', 1000],
                  ['SET', 'p', 1, 'PX', 1], ['EXPIRE', 'h', 2000], ['RPUSH', 'long', *range(1000)]):
        client.ask(*words)


def picture(client):
    """All there is, by its keys."""
    seen, cursor = {}, b'0'
    while True:
        cursor, keys = client.ask('SCAN', cursor, 'COUNT', 100)
        for key in keys:
            for words in (['GET', key], ['LRANGE', key, 0, -1], ['HGETALL', key]):
                reply = client.ask(*words)
                if not isinstance(reply, Exception):
                    seen[key] = sorted(reply) if words[0] == 'HGETALL' else reply
            seen[key, 'ttl'] = client.ask('TTL', key) > 0
        if cursor == b'0':
            return seen


def test_what_is_written_is_there_again(flags):
    with Folder() as folder:
        with Server(*flags, '--dir', folder, '--shards', 2) as server:
            client = server.client()
            fill(client)
            before = picture(client)
            server.stop()
        for shards, rewrite in ((2, True), (5, False), (1, True), (1, False)):
            with Server(*flags, '--dir', folder, '--shards', shards) as server:
                client = server.client()
                expect(picture(client), before, f'with {shards} parts')
                if rewrite:
                    expect(client.ask('BGREWRITEAOF'), 'Background append only file rewriting started')
                    while b'aof_rewrite_in_progress:1' in client.ask('INFO'):
                        pass
                    expect(len(glob.glob(folder + '/*')), 2, 'files after a rewrite')
                server.stop()


def test_a_rewrite_under_load_loses_nothing(flags):
    with Folder() as folder:
        with Server(*flags, '--dir', folder, '--shards', 2, '--rewrite-min', '20kb', '--appendfsync', 'no') as server:
            client = server.client()
            for n in range(3000):
                client.ask('SET', f'still{n}', n)
            begun = time.monotonic()
            count = 0
            while time.monotonic() < begun + 2:
                client.ask('BGREWRITEAOF')
                client.send(b''.join(encode('INCR', f'c{n}') + encode('RPUSH', f'l{n % 7}', count) for n in range(50)))
                for _ in range(100):
                    client.read()
                count += 1
            before = picture(client)
            expect(before[b'c0'], b'%d' % count)
            server.run.kill()
            server.end(None)
        with Server(*flags, '--dir', folder, '--shards', 2) as server:
            expect(picture(server.client()), before)
            server.stop()


def lost_to_kills(flags, kills, env=None, after_kill=lambda folder: None):
    """Kills it under load so often; what of the acknowledged writes was missing at a next start."""
    acknowledged, lock, lost = {}, threading.Lock(), []

    def write(port, name):
        try:
            client = Client(port)
            n = acknowledged.get(name, 0)
            while True:
                many = random.randrange(1, 20)
                client.send(b''.join(encode('SET', f'{name}', n + i + 1) for i in range(many)))
                for _ in range(many):
                    expect(client.read(), 'OK')
                    n += 1
                    with lock:
                        acknowledged[name] = n
        except (OSError, EOFError):
            pass

    with Folder() as folder:
        for _ in range(kills):
            with Server(*flags, '--dir', folder, '--rewrite-min', '30kb', env=env) as server:
                client = server.client()
                for name, n in acknowledged.items():
                    found = int(client.ask('GET', name) or 0)
                    if found < n:
                        lost.append(f'{name} is {found}, {n} was acknowledged')
                        acknowledged[name] = found
                writers = [threading.Thread(target=write, args=(server.port, f'w{n}')) for n in range(8)]
                for writer in writers:
                    writer.start()
                time.sleep(random.uniform(0.02, 0.25))
                server.run.kill()
                server.end(None)
                for writer in writers:
                    writer.join()
                after_kill(folder)
        expect(len(acknowledged), 8, 'writers that got something acknowledged')
    return lost


def test_no_acknowledged_write_is_lost_to_kill(flags, kills):
    expect(lost_to_kills([*flags, '--appendfsync', 'always'], kills), [])


def lose_power(folder, notes):
    """Leaves of a folder what a disk may have kept (forgetful_disk.cc): of the changes of names the first few, of what
    was written since a file's last sync some, and perhaps not what was written, but zeros or whatever lay there."""
    names = pathlib.Path(notes, 'names')
    changes = [line.split(' ') for line in names.read_text().splitlines()] if names.exists() else []
    for kind, name, *more in reversed(changes[random.randint(0, len(changes)):]):
        if kind == '+' and os.path.exists(name):
            os.remove(name)
        elif kind == 'r' and os.path.exists(more[0]):
            os.rename(more[0], name)
        elif kind == '-' and not os.path.exists(name):
            os.link(f'{notes}/{more[0]}', name)
    sizes = {}
    for path in pathlib.Path(folder).iterdir():
        note = pathlib.Path(notes, str(path.stat().st_ino))
        size, kept = path.stat().st_size, int(note.read_text()) if note.exists() else 0
        with open(path, 'r+b') as file:
            if size > kept:
                written = random.choice((kept, random.randint(kept, size)))
                file.truncate(written)
                file.seek(kept)
                file.write(random.choice((file.read(), bytes(written - kept), os.urandom(written - kept))))
                size = written
        sizes[path.stat().st_ino] = size
    for note in pathlib.Path(notes).iterdir():
        note.unlink()
    for inode, size in sizes.items():
        pathlib.Path(notes, str(inode)).write_text(str(size))


def test_no_acknowledged_write_is_lost_with_the_power(flags, kills):
    if not Server.forgetful_disk or Server.sanitized:
        print('  left out: it needs a library loaded before libc')
        return
    for sync in ('always', 'no'):
        with Folder() as notes:
            lost = lost_to_kills([*flags, '--ek-io=epoll', '--appendfsync', sync], kills if sync == 'always' else 3,
                                 {'LD_PRELOAD': Server.forgetful_disk, 'EK_DISK': notes},
                                 lambda folder, notes=notes: lose_power(folder, notes))
        if sync == 'always':
            expect(lost, [])
        else:
            expect(lost != [], True, 'something is lost where nothing is synced, or this test shows nothing')


def test_a_torn_tail_is_cut(flags):
    with Folder() as folder:
        with Server(*flags, '--dir', folder) as server:
            client = server.client()
            for n in range(10):
                client.ask('SET', f'k{n}', n)
            server.stop()
        name = folder + '/log.1'
        whole = pathlib.Path(name).read_bytes()
        for cut, extra in ((1, b''), (20, b''), (0, b'\0' * 30), (0, os.urandom(100)), (5, b'x' * 5000)):
            pathlib.Path(name).write_bytes(whole[:len(whole) - cut] + extra)
            with Server(*flags, '--dir', folder) as server:
                client = server.client()
                expect(client.ask('GET', 'k8'), b'8')
                expect(client.ask('GET', 'k9'), None if cut else b'9')
                client.ask('SET', 'later', 1)
                expect('cut off' in server.stop(), True, 'the log says so')
            with Server(*flags, '--dir', folder) as server:
                expect(server.client().ask('MGET', 'k8', 'later'), [b'8', b'1'])
                server.stop()


def test_a_head_that_was_never_synced_is_written_anew(flags):
    with Folder() as folder:
        with Server(*flags, '--dir', folder) as server:
            server.stop()
        size = os.path.getsize(folder + '/log.1')
    for head in (b'', bytes(size), os.urandom(size), b'x'):
        with Folder() as folder:
            with Server(*flags, '--dir', folder) as server:
                expect(server.client().ask('SET', 'k', 1), 'OK')
                server.stop()
            pathlib.Path(folder, 'log.2').write_bytes(head)
            for value in (1, 2):
                with Server(*flags, '--dir', folder) as server:
                    expect(server.client().ask('GET', 'k'), b'%d' % value)
                    expect(server.client().ask('SET', 'k', 2), 'OK')
                    server.stop()


def test_a_full_disk_refuses_writes_and_loses_none(flags):
    for sync in ('always', 'everysec'):
        with Folder() as folder:
            good = []
            with Server(*flags, '--dir', folder, '--appendfsync', sync, limit=100_000) as server:
                client = server.client()
                refused = None
                for n in range(500):
                    reply = client.ask('SET', f'k{n}', 'x' * 1000)
                    if reply == 'OK':
                        good.append(n)
                    else:
                        refused = shown(reply)
                expect(refused, '-MISCONF Errors writing to the AOF file: File too large')
                expect(client.ask('GET', 'k3'), b'x' * 1000, 'reads go on')
                expect(shown(client.ask('MSET', 'a', 1, 'b', 2))[:8], '-MISCONF')
                expect(b'aof_last_write_status:err' in client.ask('INFO', 'persistence'), True)
                server.end()
            if sync == 'always':
                with Server(*flags, '--dir', folder) as server:
                    client = server.client()
                    for n in good:
                        expect(client.ask('EXISTS', f'k{n}'), 1, f'k{n}')
                    expect(client.ask('SET', 'again', 1), 'OK')
                    server.stop()


def test_a_sync_that_fails_is_not_tried_again(flags):
    if not Server.fsync_fails or Server.sanitized:
        print('  left out: it needs a library loaded before libc')
        return
    with Folder() as folder, Folder() as signs:
        sign = signs + '/fails'
        env = {'LD_PRELOAD': Server.fsync_fails, 'EK_FSYNC_FAILS': sign}
        with Server(*flags, '--ek-io=epoll', '--dir', folder, '--appendfsync', 'always', env=env) as server:
            client = server.client()
            expect(client.ask('SET', 'a', 1), 'OK')
            pathlib.Path(sign).touch()
            refused = '-MISCONF Errors writing to the AOF file: Input/output error'
            expect(shown(client.ask('SET', 'b', 1)), refused)
            os.remove(sign)  # the disk is well again, but what it has lost is lost
            expect([shown(client.ask('SET', 'c', n)) for n in range(3)], [refused] * 3)
            expect(client.ask('GET', 'a'), b'1', 'reads go on')
            expect(shown(client.ask('SHUTDOWN')), '-ERR Errors trying to SHUTDOWN. Check logs.')
            expect('may have lost some' in server.end()[1], True, 'the log says so')


def test_what_is_no_log_is_left_alone(flags):
    with Folder() as folder:
        name = folder + '/log.1'
        pathlib.Path(name).write_bytes(b'something else, and long enough')
        run = subprocess.run([Server.program, '--port', '0', '--dir', folder, *flags], capture_output=True, text=True,
                             timeout=TIMEOUT_S, check=False)
        expect(run.returncode, 1)
        expect('this is no log' in run.stderr, True, run.stderr)
        expect(pathlib.Path(name).read_bytes(), b'something else, and long enough')


def test_wrong_arguments(_):
    for arguments in (['--port', '65536'], ['--port'], ['--appendfsync', 'often'], ['x'], ['--shards', '0'],
                      ['--maxmemory', 'lots']):
        run = subprocess.run([Server.program, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S,
                             check=False)
        expect((run.returncode, '--help' in run.stderr), (2, True), arguments)
    run = subprocess.run([Server.program, '--help'], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    expect((run.returncode, '--ek-workers' in run.stdout), (0, True))
    with Server() as server:
        run = subprocess.run([Server.program, '--port', str(server.port)], capture_output=True, text=True,
                             timeout=TIMEOUT_S, check=False)
        expect((run.returncode, 'address' in run.stderr), (1, True), run.stderr)
        server.stop()


PLACES = [['--ek-workers=2'], ['--ek-workers=2', '--ek-io=epoll'], ['--ek-scheduler=threads'],
          ['--ek-scheduler=threads', '--ek-io=epoll'], []]
EVERYWHERE = ['test_replies_are_those_of_redis', 'test_what_is_written_is_there_again', 'test_publish_and_subscribe',
              'test_many_peers_at_once', 'test_silent_and_half_open_peers']
NEEDS = {'test_replies_are_those_of_redis': 'redis-server',
         'test_malformed_input_gets_the_errors_of_redis': 'redis-server',
         'test_redis_cli_and_shutdown': 'redis-cli', 'test_redis_benchmark': 'redis-benchmark'}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--kills', type=int, default=8)
    parser.add_argument('--only', default='', help='cases whose names contain this')
    parser.add_argument('--fsync-fails', help='a library to load before libc (fsync_fails.cc)')
    parser.add_argument('--forgetful-disk', help='a library to load before libc (forgetful_disk.cc)')
    parser.add_argument('program')
    given = parser.parse_args()
    Server.program = given.program
    Server.fsync_fails = given.fsync_fails and os.path.abspath(given.fsync_fails)
    Server.forgetful_disk = given.forgetful_disk and os.path.abspath(given.forgetful_disk)
    code = pathlib.Path(given.program).read_bytes()
    Server.sanitized = b'__asan_init' in code or b'__tsan_init' in code
    random.seed(1)
    faults = 0
    for name, case in list(globals().items()):
        if not name.startswith('test_') or given.only not in name:
            continue
        if name in NEEDS and not shutil.which(NEEDS[name]):
            print(f'{name}: left out, there is no {NEEDS[name]}')
            continue
        for flags in PLACES if name in EVERYWHERE else PLACES[:1]:
            more = [given.kills] if name.startswith('test_no_acknowledged_write_is_lost') else []
            began = time.monotonic()
            try:
                case(flags, *more)
                print(f'{name} {" ".join(flags)}: {time.monotonic() - began:.1f} s', flush=True)
            except (Failure, OSError, EOFError, subprocess.SubprocessError) as error:
                faults += 1
                print(f'{name} {" ".join(flags)}: FAILED: {type(error).__name__} {error}', flush=True)
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
