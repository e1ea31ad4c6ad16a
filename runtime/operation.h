// How a process waits for an operation of the I/O driver: the only place where processes and drivers meet.
//   OW1  The operation lies on the process's stack. The wait ends with it, with the bound, or with a lethal signal; in
//        the last two cases it is cancelled, and the stack is left when it is over (operation.h O2).
//   OW2  It is woken as by a signal: whatever the process waits for by then, it looks again. So a wake that comes after
//        the wait has seen done, perhaps for another process in the same slot, is harmless.
//   OW3  What a select watches is under way while its process waits for messages, and its user's guards run. So it lies
//        on the heap, and is freed when the driver has let go of it: it tells once that it is done, and once more that
//        it has seen a cancellation, and touches it no more after that [watch-told].
//   OW4  While one is under way nothing of the user's runs on that stack: a destructor of what deliver() did not append
//        might end the process with the stack given up. settle() waits until it is over.
// Cost of one that waits: two CAS on the process's ticket (arm, wake), two stores, one switch; the driver's besides.
#pragma once

#include "base/mutex.h"
#include "io/io.h"
#include "runtime/process.h"

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

namespace erlking::detail {

/// A runtime's part in input and output: which driver, and a driver for each worker, made at its first operation; where
/// every process has a worker, one for all.
class Io {
 public:
  explicit Io(System& system);
  /// Its threads are joined, once, before what they wake processes with goes: nothing is begun any more. One may still
  /// be leaving the wake of a process that has ended meanwhile.
  void stop() noexcept;

  /// The driver that works here; chosen at the first call, which may log why it is not the one asked for. Null: none
  /// works, and a line in the log says why. Any thread.
  const io::Choice* choice();

  /// Begins `operation`, whose wake and waiter are set, for the running process. False: it is over already, or could
  /// not begin: see `result`.
  bool start(Process& process, io::Operation& operation) noexcept;
  /// Asks for the end of what start() has begun (io/operation.h O2).
  void cancel(io::Operation& operation) noexcept;
  /// The threads that wait for others; null: there is no memory for them. Any thread.
  io::Spare* spare() noexcept;
  const std::shared_ptr<io::Limits>& limits() const noexcept { return limits_; }

 private:
  bool start_spare(io::Operation& operation) noexcept;
  io::Driver* driver_of(Process& process) noexcept;

  System& system_;
  const std::shared_ptr<io::Limits> limits_;
  base::Mutex mutex_;
  io::Choice chosen_ EK_GUARDED_BY(mutex_){};
  std::string fault_ EK_GUARDED_BY(mutex_);
  std::unique_ptr<io::Service> service_ EK_GUARDED_BY(mutex_);
  std::atomic<const io::Choice*> choice_{nullptr};  // [io-choice]
  std::atomic<io::Driver*> shared_{nullptr};        // service_'s [io-choice]
  std::unique_ptr<io::Spare> spare_ EK_GUARDED_BY(mutex_);
};

/// Has the running process wait for `operation`, at most so long; what the system call answers, or -errno: -ETIME when
/// the bound has passed, -ECANCELED when the process is ending. Throws what ends the process.
std::int32_t perform(io::Operation& operation, const Bound& bound);

/// Runs `call` on a spare thread and waits for it, at most so long. Null: the bound has passed, and it is destroyed
/// when it is over. Throws what ends the process, with the same effect; std::system_error when there is no thread for
/// it.
std::unique_ptr<io::Call> perform(std::unique_ptr<io::Call> call, const Bound& bound);

/// A wait for events at a descriptor, for a select: it nudges its process (select.h V1).
class PollWatch {
 public:
  PollWatch(int fd, short events) noexcept : fd_(fd), events_(events) {}
  PollWatch(PollWatch&& other) noexcept : fd_(other.fd_), events_(other.events_) {}  // before the first arm()
  ~PollWatch() { disarm(); }
  /// Whether one of them is there, or an error, or no way to wait for them: to try says which.
  bool arm(Process& process);
  /// Waits until the driver has let go of it.
  void disarm() noexcept;

 private:
  struct UnderWay;
  int fd_;
  short events_;
  UnderWay* under_way_ = nullptr;
};

}  // namespace erlking::detail
