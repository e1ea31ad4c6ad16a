// RESP2, Redis' protocol: requests taken out of a stream of bytes, and replies put into one.
//
// A request is an array of bulk strings, `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`, or a line of words, `GET k\n` (inline). What
// is malformed gets Redis' own words for it, and the stream is of no use after it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

/// Where an argument lies in the bytes it came in.
struct Span {
  std::size_t begin = 0;
  std::size_t size = 0;
};

/// Takes requests out of bytes that come in pieces, cut anywhere. It keeps where it is, so no byte is looked at twice.
class Parser {
 public:
  enum class Result : std::uint8_t {
    request,  ///< its arguments were added to `arguments`; there may be none: the request is to be ignored
    more,     ///< the bytes end within a request
    error,    ///< error() says what is wrong
  };
  static constexpr std::size_t kInlineMost = 64 * 1024;           ///< of a line, bytes
  static constexpr std::size_t kBulkMost = 512u * 1024u * 1024u;  ///< of one argument, bytes
  static constexpr std::int64_t kCountMost = INT32_MAX;           ///< of one request, arguments

  /// Looks on in `bytes`, which begin as they did at the last call. An inline request is unquoted where it lies.
  Result next(std::string& bytes, std::vector<Span>& arguments);
  /// Up to where requests have been taken.
  std::size_t taken() const noexcept { return taken_; }
  /// The first `taken()` bytes, and all arguments but those of the request under way, are about to be dropped.
  void rebase(std::vector<Span>& arguments, std::size_t kept_from) noexcept;
  /// How many bytes there must be before next() can go on; 0: not known.
  std::size_t wanted() const noexcept { return bulk_ < 0 ? 0 : at_ + static_cast<std::size_t>(bulk_) + 2; }
  /// Without "-ERR ", as Redis says it.
  const std::string& error() const noexcept { return error_; }

 private:
  Result next_inline(std::string& bytes, std::vector<Span>& arguments);
  Result fail(std::string what);

  std::size_t taken_ = 0;   // requests end here
  std::size_t at_ = 0;      // what is before it has been looked at
  std::int64_t left_ = 0;   // arguments of the request under way; 0: none is
  std::int64_t bulk_ = -1;  // bytes of the argument that begins at at_; -1: its head has not come
  std::string error_;
};

/// An integer as Redis reads it: no sign but '-', no leading zeros, no blanks, 64 bits.
std::optional<std::int64_t> to_integer(std::string_view text) noexcept;
/// A number as Redis reads a score: also "inf"; no NaN, no blanks.
std::optional<double> to_number(std::string_view text);
/// As Redis writes a score.
std::string to_text(double number);

/// The replies, each added to `out`.
void add_simple(std::string& out, std::string_view text);
void add_error(std::string& out, std::string_view text);  ///< With its code: "ERR syntax error".
void add_integer(std::string& out, std::int64_t number);
void add_bulk(std::string& out, std::string_view text);
void add_null(std::string& out);
void add_null_array(std::string& out);
void add_array(std::string& out, std::size_t count);  ///< Its head; the elements follow.

}  // namespace kv
