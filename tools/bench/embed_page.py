#!/usr/bin/env python3
"""Makes C++ of the bench's HTML page, with the library that draws its plots put where PAGE says @D3@.

usage: embed_page.py PAGE D3 OUTPUT
"""

import pathlib
import sys

page, d3, output = (pathlib.Path(argument) for argument in sys.argv[1:])
text = page.read_text(encoding='utf-8').replace('@D3@', d3.read_text(encoding='utf-8'))
output.write_text(f'extern const char* const erlking_bench_page;\n'
                  f'const char* const erlking_bench_page = R"~html~({text})~html~";\n', encoding='utf-8')
