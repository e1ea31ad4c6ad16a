// The supervision tree of a running program, as a value: who supervises whom, what each process is, how it does, how
// full its mailbox is, how often it was started anew. As text for people, as JSON for programs.
//
//   std::puts(to_text(supervision_tree(1s)).c_str());                   // in a process
//   std::puts(to_json(runtime.tree(1s).value()).c_str());               // from a thread
//   erlking tree                                                        // from a shell (docs/tree.md)
//
// Everybody is asked, one after the other, and answers at its next safe point; nothing stands still for it, so this is
// no snapshot: processes may start, end or move on in between.
//   TR1  Each question has a sixteenth of the time that is left, at most a second: who computes, or is stuck, costs the
//       others little, and the whole never takes longer than its bound.
//   TR2  Everything has a limit (TreeLimits): of more children than that the number is told.
#pragma once

#include "runtime/bound.h"
#include "runtime/self.h"
#include "runtime/supervisor.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace erlking {

/// How much of a tree is looked at. The defaults fit a screen or two, whatever the program.
struct TreeLimits {
  std::size_t children = 100;      ///< of one supervisor, the first that were started; the others are counted
  std::size_t processes = 10'000;  ///< in all; the others are counted
};
/// Supervisors below one another that are looked at.
inline constexpr std::size_t kTreeDepthMax = 64;

/// A process in the tree, or the place of a child that does not run.
struct TreeNode {
  /// What became of the question.
  enum class Answer : std::uint8_t {
    none,  ///< no process to ask
    come,  ///< the rest is as of then
    late,  ///< none in time: it computes without a safe point, or there are no workers for it
    gone,  ///< it has ended meanwhile
  };
  std::string id;                                      ///< in its supervisor; a root: empty
  Pid pid;                                             ///< null unless it runs
  ChildType type = ChildType::worker;                  ///< its spec's; a root: supervisor
  ChildInfo::State state = ChildInfo::State::running;  ///< as its supervisor says
  std::optional<Restart> restart;                      ///< its spec's; a root: nothing
  std::uint64_t restarts = 0;                          ///< times it has been started anew
  Answer answer = Answer::none;                        ///< whether the following are known
  std::string name;                                    ///< registered; empty: none. Known without an answer
  std::string label;                                   ///< what set_label() said
  std::string entry;                                   ///< the type of the class or function it runs
  Status status = Status::waiting;                     ///< when it was asked
  std::uint32_t mailbox_depth = 0;                     ///< messages. Known without an answer
  std::uint32_t mailbox_bound = 0;                     ///< the most there may be. Known without an answer
  std::size_t stack_used = 0;                          ///< ProcessInfo::stack_used
  std::size_t stack_bytes = 0;                         ///< ProcessInfo::stack_bytes
  std::optional<Strategy> strategy;                    ///< of a supervisor that told its children
  std::size_t children_total = 0;                      ///< of such a one; `children`: those looked at
  std::vector<TreeNode> children;                      ///< in the order they are started
};

/// All trees of a runtime.
struct SupervisionTree {
  /// Supervisors whose parent is no living supervisor; in the order of their slots, oldest mostly first.
  std::vector<TreeNode> roots;
  std::size_t roots_total = 0;  ///< of them, with those beyond TreeLimits
  std::uint64_t processes = 0;  ///< alive in the runtime, supervised or not; the one that asks among them
};

/// Looks at all trees of the caller's runtime, for at most `bound` in all (TR1). Many safe points. No memory:
/// std::bad_alloc.
SupervisionTree supervision_tree(Bound bound, const TreeLimits& limits = {});

/// The tree as lines of text, in columns, at most `width` characters each (80 or more). Control characters and what is
/// no UTF-8 are shown as \xNN.
std::string to_text(const SupervisionTree& tree, std::size_t width = 100);
/// The tree as JSON (docs/tree.md); valid whatever bytes the names have: what is no UTF-8 becomes U+FFFD.
std::string to_json(const SupervisionTree& tree);

}  // namespace erlking
