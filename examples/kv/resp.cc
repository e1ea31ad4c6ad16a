#include "examples/kv/resp.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace kv {

namespace {

bool is_blank(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

int hex(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char unescaped(char c) noexcept {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

// Splits the line from `begin` to `end` into words, writing each where its text began. False: a quote is not closed, or
// something follows one at once.
bool split(char* line, std::size_t begin, std::size_t end, std::vector<Span>& words) {
  std::size_t at = begin;
  end = std::min(end, begin + ::strnlen(line + begin, end - begin));  // a zero byte ends it
  for (;;) {
    while (at < end && is_blank(line[at])) ++at;
    if (at == end) return true;
    const std::size_t word = at;
    std::size_t to = at;
    char quote = 0;
    for (;; ++at) {
      if (at == end) {
        if (quote != 0) return false;
        break;
      }
      const char c = line[at];
      if (quote == 0) {
        if (is_blank(c)) break;
        if (c == '"' || c == '\'') {
          quote = c;
        } else {
          line[to++] = c;
        }
      } else if (c == quote) {
        if (at + 1 < end && !is_blank(line[at + 1])) return false;
        ++at;
        break;
      } else if (quote == '"' && c == '\\' && at + 3 < end && line[at + 1] == 'x' && hex(line[at + 2]) >= 0 &&
                 hex(line[at + 3]) >= 0) {
        line[to++] = static_cast<char>(hex(line[at + 2]) * 16 + hex(line[at + 3]));
        at += 3;
      } else if (quote == '"' && c == '\\' && at + 1 < end) {
        line[to++] = unescaped(line[++at]);
      } else if (quote == '\'' && c == '\\' && at + 1 < end && line[at + 1] == '\'') {
        line[to++] = line[++at];
      } else {
        line[to++] = c;
      }
    }
    words.push_back({word, to - word});
  }
}

}  // namespace

Parser::Result Parser::fail(std::string what) {
  error_ = "Protocol error: " + std::move(what);
  return Result::error;
}

Parser::Result Parser::next_inline(std::string& bytes, std::vector<Span>& arguments) {
  const std::size_t end = bytes.find('\n', at_);
  if (end == bytes.npos) {
    at_ = bytes.size();
    return at_ - taken_ > kInlineMost ? fail("too big inline request") : Result::more;
  }
  const std::size_t line = end > taken_ && bytes[end - 1] == '\r' ? end - 1 : end;
  if (!split(bytes.data(), taken_, line, arguments)) return fail("unbalanced quotes in request");
  taken_ = at_ = end + 1;
  return Result::request;
}

Parser::Result Parser::next(std::string& bytes, std::vector<Span>& arguments) {
  // The number of a line from `from` on, as far as it has come; nothing: more must come.
  const auto line_from = [&](std::size_t from) -> std::optional<std::string_view> {
    const void* const end = std::memchr(bytes.data() + from, '\r', bytes.size() - from);
    if (end == nullptr) return std::nullopt;
    const auto length = static_cast<std::size_t>(static_cast<const char*>(end) - bytes.data()) - from;
    if (from + length + 2 > bytes.size()) return std::nullopt;
    return std::string_view(bytes).substr(from, length);
  };
  if (left_ == 0) {
    if (taken_ == bytes.size()) return Result::more;
    if (bytes[taken_] != '*') return next_inline(bytes, arguments);
    const auto line = line_from(taken_);
    if (!line) return bytes.size() - taken_ > kInlineMost ? fail("too big mbulk count string") : Result::more;
    const auto count = to_integer(line->substr(1));
    if (!count || *count > kCountMost) return fail("invalid multibulk length");
    at_ = taken_ + line->size() + 2;
    if (*count <= 0) {
      taken_ = at_;
      return Result::request;
    }
    left_ = *count;
  }
  while (left_ != 0) {
    if (bulk_ < 0) {
      if (at_ == bytes.size()) return Result::more;
      const auto line = line_from(at_);
      if (!line) return bytes.size() - at_ > kInlineMost ? fail("too big bulk count string") : Result::more;
      if (bytes[at_] != '$') return fail(std::string("expected '$', got '") + bytes[at_] + "'");
      const auto size = to_integer(line->substr(1));
      if (!size || *size < 0 || *size > static_cast<std::int64_t>(kBulkMost)) return fail("invalid bulk length");
      bulk_ = *size;
      at_ += line->size() + 2;
    }
    if (bytes.size() < wanted()) return Result::more;
    arguments.push_back({at_, static_cast<std::size_t>(bulk_)});
    at_ = wanted();
    bulk_ = -1;
    --left_;
  }
  taken_ = at_;
  return Result::request;
}

void Parser::rebase(std::vector<Span>& arguments, std::size_t kept_from) noexcept {
  arguments.erase(arguments.begin(), arguments.begin() + static_cast<std::ptrdiff_t>(kept_from));
  for (Span& argument : arguments) argument.begin -= taken_;
  at_ -= taken_;
  taken_ = 0;
}

std::optional<std::int64_t> to_integer(std::string_view text) noexcept {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  const std::string_view digits = text.front() == '-' ? text.substr(1) : text;
  if (digits.front() == '0' && text.size() != 1) return std::nullopt;  // also "-0"
  return value;
}

std::optional<double> to_number(std::string_view text) {
  if (text.empty() || is_blank(text.front())) return std::nullopt;
  const std::string copy(text);
  char* end = nullptr;
  const double value = std::strtod(copy.c_str(), &end);
  if (end != copy.c_str() + copy.size() || std::isnan(value)) return std::nullopt;
  return value;
}

std::string to_text(double number) {
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  if (number == 0) return std::signbit(number) ? "-0" : "0";
  char text[40];
  constexpr double kWhole = 1e15;  // exact as an integer
  const bool whole = number > -kWhole && number < kWhole && number == std::trunc(number);
  const int size = whole ? std::snprintf(text, sizeof text, "%lld", static_cast<long long>(number))
                         : std::snprintf(text, sizeof text, "%.17g", number);
  return {text, static_cast<std::size_t>(size)};
}

namespace {
void add_line(std::string& out, char kind, std::int64_t number) {
  char text[24];
  text[0] = kind;
  char* end = std::to_chars(text + 1, text + sizeof text - 2, number).ptr;
  *end++ = '\r';
  *end++ = '\n';
  out.append(text, static_cast<std::size_t>(end - text));
}
}  // namespace

void add_simple(std::string& out, std::string_view text) {
  out += '+';
  out += text;
  out += "\r\n";
}
void add_error(std::string& out, std::string_view text) {
  out += '-';
  for (const char c : text) out += c == '\r' || c == '\n' ? ' ' : c;  // what a peer sent may be quoted in it
  out += "\r\n";
}
void add_integer(std::string& out, std::int64_t number) { add_line(out, ':', number); }
void add_bulk(std::string& out, std::string_view text) {
  add_line(out, '$', static_cast<std::int64_t>(text.size()));
  out += text;
  out += "\r\n";
}
void add_null(std::string& out) { out += "$-1\r\n"; }
void add_null_array(std::string& out) { out += "*-1\r\n"; }
void add_array(std::string& out, std::size_t count) { add_line(out, '*', static_cast<std::int64_t>(count)); }

}  // namespace kv
