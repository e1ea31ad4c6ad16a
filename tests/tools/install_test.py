#!/usr/bin/env python3
"""Installs the build into a temporary folder, moves what was installed, and uses it as a stranger would.

usage: install_test.py BUILD

A small program is built against it by g++ and pkg-config, by CMake, and by Meson with this checkout as a subproject; it
has a folder base/ of its own, with names that are Erlking's too. No installed text may tell where Erlking was built.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 280
CXX = os.environ.get('CXX', 'g++')

MAIN = '''
#include "base/clock.h"
#include <erlking/erlking.h>

#include <cstdio>

struct Question {
  int n;
  using Reply = int;
};

int main(int argc, char** argv) {
  using namespace erlking;
  return Runtime(Options::from(argc, argv)).run([] {
    const Pid pid = spawn_link([] {
      receive(forever, [](Question& question, From<Question> from) { from.reply(question.n * kTimes); });
    });
    std::printf("%d\\n", call(pid, Question{21}, forever).value());
  });
}
'''
# Were Erlking's folders on the path of includes, one of the two clock.h would hide the other.
CLOCK = '''
#pragma once
inline constexpr int kTimes = 2;
'''
CMAKE = '''
cmake_minimum_required(VERSION 3.25)
project(consumer CXX)
find_package(Erlking {wanted} REQUIRED)
add_executable(consumer main.cc)
target_include_directories(consumer PRIVATE .)
target_link_libraries(consumer Erlking::erlking)
'''
MESON = '''
project('consumer', 'cpp')
executable('consumer', 'main.cc', include_directories: '.', dependencies: dependency('erlking',
  fallback: 'erlking'))
'''

faults = []


def run(*command, **options):
    ended = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, check=False, **options)
    if ended.returncode:
        print(f'{command} ended with {ended.returncode}:\n{ended.stdout}')
        raise SystemExit(1)
    return ended.stdout


def expect(condition, what):
    if not condition:
        faults.append(what)


def consumer(folder, **files):
    (folder / 'base').mkdir(parents=True)
    (folder / 'main.cc').write_text(MAIN)
    (folder / 'base/clock.h').write_text(CLOCK)
    for name, text in files.items():
        (folder / name.replace('_', '.')).write_text(text)
    return folder


def expect_42(how, program):
    out = run(program)
    expect(out == '42\n', f'{how}: the program prints {out!r}')


def check_files(build, prefix):
    libraries = [path.name for path in prefix.rglob('*.a')]
    expect(libraries == ['liberlking.a'], f'libraries: {libraries}')
    below = {path.name for path in (prefix / 'include').iterdir()}
    expect(below == {'erlking'}, f'include/ holds {below}')
    docs = prefix / 'share/doc/erlking'
    for path in ('LICENSE', 'NOTICE', 'semantics.md'):
        expect((docs / path).is_file(), f'no share/doc/erlking/{path}')
    for path in prefix.rglob('*'):
        if path.is_file() and path.suffix in ('.h', '.pc', '.cmake', '.md'):
            text = path.read_text(encoding='utf-8')
            for place in (str(build), str(ROOT)):
                expect(place not in text, f'{path.relative_to(prefix)} names {place}')


def check_executable(prefix, home):
    erlking = prefix / 'bin/erlking'
    run(erlking, '--help')
    # It finds the peers' sources without being told where they lie.
    if shutil.which('erlc'):
        run(erlking, 'bench', 'pingpong', '--vs', 'beam', '--runs', '1', '--scale', '0.01', '--workers', '1',
            env={**os.environ, 'HOME': str(home), 'XDG_CACHE_HOME': str(home)})
        expect(list(home.rglob('*.beam')), 'no peer was compiled')
        expect(not (prefix / 'bin/peers').exists(), 'peers are compiled into bin/')


def check_pkgconfig(prefix, folder):
    path = next(prefix.rglob('erlking.pc')).parent
    env = {**os.environ, 'PKG_CONFIG_PATH': str(path)}
    flags = run('pkg-config', '--cflags', '--libs', 'erlking', env=env).split()
    static = run('pkg-config', '--static', '--cflags', '--libs', 'erlking', env=env).split()
    expect(set(flags) == set(static), f'--static differs: {flags}, {static}')
    expect(f'-I{prefix}/include' in [os.path.normpath(flag) for flag in flags], f'no -I of the prefix: {flags}')
    run(CXX, '-O1', '-Wall', '-Wextra', '-Werror', '-I.', 'main.cc', '-o', 'consumer', *flags, cwd=consumer(folder))
    expect_42('pkg-config', folder / 'consumer')


def check_cmake(prefix, folder, version):
    found = {}
    major, minor = version.split('.')[:2]
    wanted = {version: True, f'{major}.{minor}': True, f'{major}.{int(minor) + 1}': False, f'{int(major) + 1}': False}
    for number, fits in wanted.items():
        (folder / number).mkdir(parents=True)
        (folder / number / 'CMakeLists.txt').write_text('cmake_minimum_required(VERSION 3.25)\nproject(asks CXX)\n'
                                                        f'find_package(Erlking {number} REQUIRED)\n')
        asked = subprocess.run(['cmake', '-S', folder / number, '-B', folder / number / 'build',
                                f'-DCMAKE_PREFIX_PATH={prefix}', '-DCMAKE_CXX_COMPILER_WORKS=1'], capture_output=True,
                               text=True, timeout=TIMEOUT_S, check=False)
        found[number] = asked.returncode == 0
        expect(found[number] == fits, f'find_package(Erlking {number}) {"finds" if found[number] else "refuses"} '
               f'{version}:\n{asked.stderr}')
    source = consumer(folder / 'consumer', CMakeLists_txt=CMAKE.format(wanted=version))
    run('cmake', '-S', source, '-B', source / 'build', f'-DCMAKE_PREFIX_PATH={prefix}', f'-DCMAKE_CXX_COMPILER={CXX}')
    run('cmake', '--build', source / 'build')
    expect_42('CMake', source / 'build/consumer')


def check_subproject(folder):
    """Compiles the program alone: the library would be what the build that is tested has compiled already."""
    source = consumer(folder, meson_build=MESON)
    (source / 'subprojects').mkdir()
    (source / 'subprojects/erlking').symlink_to(ROOT)
    build = source / 'build'
    run('meson', 'setup', build, source, env={**os.environ, 'CXX': CXX})
    run('ninja', '-C', build, 'consumer.p/main.cc.o')
    targets = json.loads(run('meson', 'introspect', '--targets', build))
    built = {t['name'] for t in targets}
    expect({'consumer', 'erlking'} <= built, f'the subproject builds {built}')
    expect(not any(name.endswith('_test') for name in built), "the subproject builds Erlking's tests")


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    build = pathlib.Path(arguments[0]).resolve()
    project = json.loads(run('meson', 'introspect', '--projectinfo', build))
    options = {o['name']: o['value'] for o in json.loads(run('meson', 'introspect', '--buildoptions', build))}
    with tempfile.TemporaryDirectory() as name:
        top = pathlib.Path(name).resolve()
        run('meson', 'install', '-C', build, '--no-rebuild', '--destdir', top / 'staged')
        prefix = top / 'moved'
        (top / 'staged' / options['prefix'].lstrip('/')).rename(prefix)
        check_files(build, prefix)
        check_executable(prefix, top / 'home')
        check_pkgconfig(prefix, top / 'pkgconfig')
        check_cmake(prefix, top / 'cmake', project['version'])
        check_subproject(top / 'subproject')
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
