// Inspector: answers questions about a running Runtime at a Unix socket, for `erlking tree` and whoever can write a
// line to a socket (docs/tree.md). One line asks, `tree …` or `help`; the answer ends with the connection.
//
//   IN1  One thread does it all; nothing it does to a client waits: who reads or writes too slowly loses its connection
//       after kPatience, and only kClients are served at once; others wait in the socket's queue.
//   IN2  The tree is made by a process like any other (Runtime::tree): while nobody asks, nothing runs.
//   IN3  The socket belongs to whoever listens at it. One at which nobody does is left over and replaced; starts of
//       several programs at one path take turns by a lock on the folder. It is removed while it still answers.
#pragma once

#include "sched/sched.h"

#include <string>
#include <sys/types.h>

namespace erlking {

class Runtime;

namespace detail {

class Inspector {
 public:
  /// Makes the socket, mode 0600. It cannot: std::invalid_argument (the path is too long), std::runtime_error.
  Inspector(Runtime& runtime, const std::string& path);
  /// Ends the thread, at once but for a tree being made, which a stopping runtime ends soon; removes the socket.
  ~Inspector();
  Inspector(const Inspector&) = delete;
  Inspector& operator=(const Inspector&) = delete;

  /// Begins to answer. No thread: std::runtime_error. Once.
  void start();

 private:
  static void* run(void* self);

  Runtime& runtime_;
  const std::string path_;  // absolute
  ino_t inode_ = 0;
  int listener_ = -1;
  int end_ = -1;  // an eventfd
  sched::Thread thread_;
};

}  // namespace detail
}  // namespace erlking
