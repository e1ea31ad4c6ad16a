// Part: the process that owns one part of the keys. It runs what connections send it, and hands what has changed to the
// log, which answers for it where replies wait for the disk.
#pragma once

#include "examples/kv/pipeline.h"
#include "examples/kv/store.h"
#include "examples/kv/world.h"
#include <erlking/erlking.h>

#include <cstdint>
#include <memory>
#include <string>

namespace kv {

/// Its registered name: "part-0".
std::string name_of_part(std::size_t part);

/// Commands that make some more of a part's keys, for a snapshot (store.h S3).
struct DumpSome {
  struct Piece {
    std::string commands;
    bool more = false;
  };
  using Reply = Piece;
  bool end = false;    ///< the dump under way is not wanted any more
  bool begin = false;  ///< a dump begins: what changes from now on goes to the newest log file
};

/// See the head of this file.
class Part : public erlking::Server {
 public:
  struct Sweep {};
  using Handles = erlking::Messages<Run, DumpSome, Sweep>;
  Part(std::shared_ptr<World> world, std::uint32_t part);
  ~Part() { publish(0, 0); }
  Part(Part&& other) = delete;

  void on(Run& run, erlking::From<Run> from);
  DumpSome::Piece on(DumpSome& dump);
  void on(Sweep& sweep);

 private:
  void publish(std::uint64_t bytes, std::uint64_t keys) noexcept;
  void hand_over(erlking::From<Run> from, std::shared_ptr<Pipeline> pipeline);
  void after_changes();
  std::string_view refusal(const Command& command) noexcept;

  std::shared_ptr<World> world_;
  std::uint32_t part_;
  std::unique_ptr<Store> store_;
  bool logged_;
  erlking::Pid log_;
  erlking::base::Random random_{erlking::base::entropy_seed()};
  std::string changes_;  // not yet handed to the log
  std::string refused_;
  std::uint64_t published_ = 0;  // bytes, in World::memory
  bool sweeping_ = false;        // a Sweep is on its way
};

}  // namespace kv
