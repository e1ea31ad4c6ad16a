// Files of records: a head, then records, each with a checksum over all of it. The last may be cut short by a crash,
// anywhere; what is behind the first bad one is not looked at. Little-endian.
#pragma once

#include "net/file.h"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>

namespace kv {

inline constexpr std::uint32_t kEndPart = UINT32_MAX;  ///< Of the record that ends a snapshot.

/// The first bytes of a file for so many parts.
std::string file_head(std::size_t parts);
/// Adds a record: commands (RESP) that one part has run.
void add_record(std::string& out, std::uint32_t part, std::string_view commands);

/// What reading a file has come to.
struct Read {
  std::uint64_t good = 0;  ///< bytes up to the end of the last good record; 0: not even the head
  std::uint64_t size = 0;  ///< bytes there are
  std::size_t parts = 0;   ///< as the head says
  bool ended = false;      ///< the last record was of kEndPart
};
/// Gives each good record to `each`.
std::expected<Read, erlking::IoError> read_records(
    erlking::File& file, const std::function<void(std::uint32_t part, std::string& commands)>& each);

}  // namespace kv
