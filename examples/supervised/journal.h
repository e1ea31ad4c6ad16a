// The journal: a file that every write is appended to before it is acknowledged. It belongs to no process, so it is
// there whoever dies, as a disk is; processes that lose what they knew read it again. Any number may read; one appends,
// who knows where it ends: the writer, of which there is one because its name is.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <unordered_map>

namespace supervised {

/// One write. A client numbers its writes from 1 up; the number is also what it writes.
struct Record {
  std::uint64_t key = 0;     ///< which belongs to one client
  std::uint64_t number = 0;  ///< rises from record to record of a key
};

/// See above. Errors of the system: std::system_error.
class Journal {
 public:
  /// A file without a name, gone with the program. `sync`: a record is on the medium when append() returns, so that a
  /// loss of power spares it, too.
  explicit Journal(bool sync);

  /// Writes the record that has `at` before it. No safe point: nobody is killed half way.
  void append(std::uint64_t at, const Record& record) const;
  /// Every record, in order; how many. The rest of one that did not fit on the medium is none.
  std::uint64_t read(const std::function<void(const Record&)>& each) const;

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  bool sync_;
};

/// The newest number of each key.
using Table = std::unordered_map<std::uint64_t, std::uint64_t>;

}  // namespace supervised
