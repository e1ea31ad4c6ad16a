#include "examples/kv/glob.h"

#include <cstddef>
#include <utility>

namespace kv {

namespace {

// Whether the class that begins after '[' at `at` has `c`; moves `at` behind it.
bool in_class(std::string_view pattern, std::size_t& at, char c) noexcept {
  const bool inverted = at < pattern.size() && pattern[at] == '^';
  if (inverted) ++at;
  bool found = false;
  for (; at < pattern.size() && pattern[at] != ']'; ++at) {
    if (pattern[at] == '\\' && at + 1 < pattern.size()) {
      found = found || pattern[++at] == c;
    } else if (at + 2 < pattern.size() && pattern[at + 1] == '-') {
      char first = pattern[at], last = pattern[at + 2];
      if (first > last) std::swap(first, last);
      found = found || (c >= first && c <= last);
      at += 2;
    } else {
      found = found || pattern[at] == c;
    }
  }
  if (at < pattern.size()) ++at;
  return found != inverted;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view text) noexcept {
  std::size_t p = 0, t = 0;
  std::size_t star = pattern.npos, retry = 0;  // behind the last *, and where what it stands for ends so far
  while (t < text.size() || p < pattern.size()) {
    if (p < pattern.size()) {
      if (pattern[p] == '*') {
        star = ++p;
        retry = t;
        continue;
      }
      if (t < text.size()) {
        std::size_t next = p + 1;
        bool good = true;
        if (pattern[p] == '[') {
          good = in_class(pattern, next, text[t]);
        } else if (pattern[p] != '?') {
          if (pattern[p] == '\\' && next < pattern.size()) ++next;
          good = pattern[next - 1] == text[t];
        }
        if (good) {
          p = next;
          ++t;
          continue;
        }
      }
    }
    if (star == pattern.npos || retry >= text.size()) return false;
    p = star;
    t = ++retry;
  }
  return true;
}

}  // namespace kv
