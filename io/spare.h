// Spare: threads that wait in the operating system in the place of processes: for files where the driver has no way
// that does not wait, and for foreign code.
//   SP1  What is posted lies with who posted it and is run once, oldest first; nothing is allocated but threads. A
//        thread is made when none is free and there are fewer than `most`; it ends when it has had nothing to do for 10
//        s.
//   SP2  The end of an operation is stored and told under the mutex: so cancel() and abandon() meet it queued, running
//        or over, never in between.
//   SP3  What is abandoned while it runs is the thread's: it is destroyed there, and touches nothing else. Whoever ends
//        a Spare waits for all others, not for these; their threads end by themselves, on a state that they share.
// Cost: two turns of the mutex, a futex wake, two switches of threads: 10 to 50 µs.
#pragma once

#include "io/operation.h"

#include <memory>

namespace erlking::io {

/// What is run; with Code::call `data` of its operation points to it.
class Call {
 public:
  Operation operation{Code::call, -1, this};

  Call() noexcept = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  virtual ~Call() = default;
  virtual void run() noexcept = 0;  ///< On a spare thread.
};

/// All of it may be called by any thread.
class Spare {
 public:
  /// `most`: threads, at least 1.
  explicit Spare(unsigned most);
  ~Spare();
  Spare(const Spare&) = delete;
  Spare& operator=(const Spare&) = delete;

  /// Has `operation` done; it is over by finish(). False: the system gives no thread, and there is none yet.
  bool post(Operation& operation) noexcept;
  /// Asks for the end of an operation (O2): takes it out if it has not begun.
  void cancel(Operation& operation) noexcept;
  /// Nobody wants `call` any more. True: it runs, and is destroyed when it is over; false: it is not run any more, and
  /// is the caller's to destroy.
  bool abandon(Call& call) noexcept;
  /// How many threads there are.
  unsigned threads() const noexcept;

 private:
  struct State;
  static void* main(void* state);

  const std::shared_ptr<State> state_;
};

}  // namespace erlking::io
