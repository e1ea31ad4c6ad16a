// Programs that read files.
#include "tools/bench/ours/program.h"

#include <cstdlib>
#include <memory>
#include <vector>

namespace erlking::bench {

namespace {

constexpr std::uint64_t kReaders = 128;
constexpr std::size_t kBlock = 4096;

struct Begin {};
struct Done {};

}  // namespace

// As many reads at random as `n` at a depth of 128: so many processes, each with a file and one read under way.
Outcome file_reading(std::uint64_t n, const std::string& path, std::uint64_t bytes, bool direct) {
  const std::uint64_t share = std::max<std::uint64_t>(1, n / kReaders), blocks = bytes / kBlock;
  std::vector<Pid> readers;
  for (std::uint64_t i = 0; i < kReaders; ++i) {
    readers.push_back(spawn_link([=, root = self()] {
      auto file = File::open(path, {.direct = direct}, kLimit);
      if (!file) exit(file.error() == IoFailure::invalid ? reason::system_limit : Reason(file.error().to_string()));
      const std::unique_ptr<char, decltype(&std::free)> block(static_cast<char*>(std::aligned_alloc(kBlock, kBlock)),
                                                              &std::free);
      send(root, Done{}, kLimit);
      receive(kPatience, [](Begin) {});
      std::uint64_t random = i + 1;
      for (std::uint64_t k = 0; k < share; ++k) {
        random = random * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
        const auto got = file->read_at((random >> 33) % blocks * kBlock, std::span(block.get(), kBlock), kLimit);
        if (!got || *got != kBlock) exit(Reason("not_read"));
      }
      send(root, Done{}, kLimit);
    }));
  }
  const auto all = [] {
    for (std::uint64_t i = 0; i < kReaders; ++i) receive(kPatience, [](Done) {});
  };
  all();
  Watch watch;
  watch.start();
  for (const Pid reader : readers) send(reader, Begin{});
  all();
  watch.stop();
  return {{{"ns_per_read", watch.ns_per(share * kReaders)}}, "natural"};
}

}  // namespace erlking::bench
