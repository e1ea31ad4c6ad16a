// Thread: one thread beside the workers, for what has to wait at the operating system. It takes no signals: those are
// for the program's own threads.
#pragma once

#include <pthread.h>

namespace erlking::sched {

class Thread {
 public:
  Thread() noexcept = default;
  ~Thread() { join(); }
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  /// Runs main(argument) on a thread of that name (15 bytes at most). Once. False: the system gives no thread.
  bool start(const char* name, void* (*main)(void*), void* argument) noexcept;
  /// Waits for its end; not started, or waited for: nothing.
  void join() noexcept;
  /// It ends by itself: not to be waited for.
  void leave() noexcept;

 private:
  pthread_t handle_{};
  bool started_ = false;
};

}  // namespace erlking::sched
