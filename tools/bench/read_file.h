// ReadFile: the file that file-read reads, and fio, which reads it for comparison.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>

namespace erlking::bench {

class ReadFile {
 public:
  static constexpr std::uint64_t kBytes = 64u << 20;

  /// Makes it in the folder for temporary files, and has it in the system's cache. The error is for a user.
  static std::expected<std::unique_ptr<ReadFile>, std::string> make();
  /// Removes it.
  ~ReadFile();
  ReadFile(const ReadFile&) = delete;
  ReadFile& operator=(const ReadFile&) = delete;

  const std::string& path() const noexcept { return path_; }
  /// Nanoseconds for each of `reads` by fio's io_uring engine: of 4 KiB, at random, 128 at a time, on the CPU `cpu`.
  /// NaN: there is no fio, or it does not do it within a minute.
  double fio(std::uint64_t reads, int cpu) const;

 private:
  explicit ReadFile(std::string path) : path_(std::move(path)) {}

  std::string path_;
};

}  // namespace erlking::bench
