#include "tools/bench/read_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <limits>
#include <unistd.h>
#include <vector>

namespace erlking::bench {

std::expected<std::unique_ptr<ReadFile>, std::string> ReadFile::make() {
  std::error_code error;
  std::string path = (std::filesystem::temp_directory_path(error) / "erlking-bench-XXXXXX").string();
  const int fd = ::mkstemp(path.data());
  if (fd < 0) return std::unexpected(fmt::format("no file '{}': {}", path, std::strerror(errno)));
  std::unique_ptr<ReadFile> made(new ReadFile(path));
  const std::vector<char> some(1u << 20, 'x');
  for (std::uint64_t at = 0; at < kBytes; at += some.size()) {
    if (::pwrite(fd, some.data(), some.size(), static_cast<off_t>(at)) != static_cast<ssize_t>(some.size())) {
      const int fault = errno;
      ::close(fd);
      return std::unexpected(fmt::format("cannot write '{}': {}", path, std::strerror(fault)));
    }
  }
  ::fsync(fd);  // nothing is written back while it is read
  ::close(fd);
  return made;
}

ReadFile::~ReadFile() { ::unlink(path_.c_str()); }

double ReadFile::fio(std::uint64_t reads, int cpu) const {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (path_.find('\'') != path_.npos) return kNone;
  const std::string command = fmt::format(
      "exec timeout 60 fio --name=read --filename='{}' --size={} --ioengine=io_uring --rw=randread --bs=4k "
      "--iodepth=128 --norandommap --invalidate=0 --thread --cpus_allowed={} --io_size={} --output-format=json "
      "2>/dev/null",
      path_, kBytes, cpu, reads * 4096);
  std::FILE* const out = ::popen(command.c_str(), "re");
  if (out == nullptr) return kNone;
  std::string text;
  char some[4096];
  for (std::size_t n = 0; (n = std::fread(some, 1, sizeof some, out)) != 0;) text.append(some, n);
  ::pclose(out);
  try {
    const double per_second = nlohmann::json::parse(text).at("jobs").at(0).at("read").at("iops").get<double>();
    return per_second > 0 ? 1e9 / per_second : kNone;
  } catch (const nlohmann::json::exception&) {
    return kNone;
  }
}

}  // namespace erlking::bench
