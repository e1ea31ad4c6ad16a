// What must hold of the parser of examples/kv for any bytes: for the fuzzer, and for the test that repeats its corpus.
#pragma once

#include "examples/kv/resp.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kv::fuzz {

/// What comes of bytes in pieces of `step`, as one text. Empty if an argument lies outside the bytes.
inline std::string resp_parsed(std::string_view text, std::size_t step) {
  Parser parser;
  std::string bytes, made = ".";
  std::vector<Span> arguments;
  std::size_t begun = 0;
  for (std::size_t from = 0; from < text.size(); from += step) {
    bytes += text.substr(from, step);
    for (;;) {
      const auto result = parser.next(bytes, arguments);
      if (result == Parser::Result::error) return made + parser.error();
      if (result == Parser::Result::more) break;
      for (; begun < arguments.size(); ++begun) {
        const auto [at, size] = arguments[begun];
        if (at > bytes.size() || size > bytes.size() - at) return {};
        made += '<' + bytes.substr(at, size) + '>';
      }
      made += ';';
    }
    if (parser.taken() > bytes.size()) return {};
    bytes.erase(0, parser.taken());
    parser.rebase(arguments, std::exchange(begun, 0));
  }
  return made;
}

/// Arguments lie within the bytes, and it does not matter how the bytes are cut.
inline bool resp_holds(std::string_view text) {
  const std::string whole = resp_parsed(text, text.size() + 1);
  return !whole.empty() && resp_parsed(text, 1) == whole && resp_parsed(text, 7) == whole;
}

}  // namespace kv::fuzz
