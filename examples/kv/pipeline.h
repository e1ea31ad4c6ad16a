// Pipeline: the requests a connection has at hand, and their replies. It is shared with the parts that run them:
//
//   P1  The connection sends it to the parts concerned, and touches it again when each has answered. Meanwhile each
//       part reads the requests and writes its own section. Should the connection end, the last part frees it.
//   P2  A section holds its part's replies in the order of the requests, with where each ends; a request of several
//       keys (Merge::array) has one for each key. finish() puts them together.
#pragma once

#include "examples/kv/commands.h"
#include "examples/kv/resp.h"
#include "examples/kv/world.h"
#include <erlking/erlking.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

/// See above.
class Pipeline {
 public:
  /// One request.
  struct Item {
    const Command* command = nullptr;  ///< null: answered by the connection
    std::uint32_t first = 0, words = 0;
    std::uint32_t part = 0;  ///< whose section; of Where::parts: unused
    std::uint64_t hash = 0;  ///< of its key; the part's cursor
  };
  /// What one part has to do, and its replies.
  struct Section {
    std::vector<std::uint32_t> items;
    std::string out;
    std::vector<std::size_t> ends;
    int lost = 0;  ///< errno: its writes may not have reached the disk; 0: they have
  };

  /// With a section for each part, and one for the connection.
  explicit Pipeline(std::size_t parts) : sections_(parts + 1), parts_(parts) {}

  std::string bytes;            ///< as read
  std::vector<Span> arguments;  ///< of the requests in it
  std::string_view word(std::size_t at) const noexcept {
    return {bytes.data() + arguments[at].begin, arguments[at].size};
  }
  std::size_t parts() const noexcept { return parts_; }
  std::size_t size() const noexcept { return items_.size(); }
  Section& section(std::size_t part) noexcept { return sections_[part]; }

  /// Adds a request for the parts: words from `first` on, which the command takes.
  void add(const Command& command, std::size_t first, std::size_t words);
  /// Where to write a reply of the connection's own; ended by added().
  std::string& own() noexcept { return sections_[parts_].out; }
  void added();

  /// For the part: runs its items. `call` has its store; refuse(command) gives an error instead of running it, or "".
  template <class Refuse>
  void run(std::size_t part, Call& call, const Refuse& refuse) {
    Section& section = sections_[part];
    for (const std::uint32_t index : section.items) {
      const Item& item = items_[index];
      const std::string_view refused = refuse(*item.command);
      if (!refused.empty()) {
        add_error(call.out, refused);
        section.ends.push_back(call.out.size());
      } else {
        run(part, item, call);
      }
    }
  }

  /// All replies, in order. Valid until the next call of this object.
  std::string_view finish();
  /// Forgets the requests, but not the bytes.
  void clear();

 private:
  void run(std::size_t part, const Item& item, Call& call);

  std::vector<Item> items_;
  std::vector<Section> sections_;
  std::size_t parts_;
  std::string merged_;
};

/// Asks a part to run its section.
struct Run {
  /// The replies are there.
  struct Done {};
  using Reply = Done;
  std::shared_ptr<Pipeline> pipeline;
};

}  // namespace kv
