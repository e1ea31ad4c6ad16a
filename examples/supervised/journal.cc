#include "examples/supervised/journal.h"

#include <cerrno>
#include <cstddef>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace supervised {

namespace {

[[noreturn]] void fail(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

off_t offset_of(std::uint64_t at) { return static_cast<off_t>(at * sizeof(Record)); }

}  // namespace

Journal::Journal(bool sync) : file_(std::tmpfile(), &std::fclose), sync_(sync) {
  if (file_ == nullptr) fail("a temporary file");
}

void Journal::append(std::uint64_t at, const Record& record) const {
  const int fd = ::fileno(file_.get());
  const ssize_t written = ::pwrite(fd, &record, sizeof record, offset_of(at));
  if (written >= 0 && written != sizeof record) errno = ENOSPC;
  if (written != sizeof record || (sync_ && ::fdatasync(fd) != 0)) fail("the journal");
}

std::uint64_t Journal::read(const std::function<void(const Record&)>& each) const {
  std::vector<Record> some(4096);
  for (std::uint64_t count = 0;;) {
    const ssize_t got = ::pread(::fileno(file_.get()), some.data(), some.size() * sizeof(Record), offset_of(count));
    if (got < 0) fail("the journal");
    const std::size_t records = static_cast<std::size_t>(got) / sizeof(Record);
    if (records == 0) return count;
    for (std::size_t i = 0; i < records; ++i) each(some[i]);
    count += records;
  }
}

}  // namespace supervised
