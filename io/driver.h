// Driver: the seam between operations and the operating system. One per worker, owned by its thread; or one for all, on
// a thread of its own (service.h), where every process has a worker. A back end is one class and one row in driver.cc's
// table, and passes tests/conformance/driver_conformance_test.cc before anything else.
//   V1  The hot half is the batch: start() only lines up; the back end is asked once for all of them, by poll().
//   V2  Requests of other threads lie in an inbox (sched/inbox.h). An owner that sleeps elsewhere, too, gives a Rouse:
//       that is called after each push, and looks whether the owner sleeps (seq_cst), who looks at asked() (seq_cst)
//       after announcing it (seq_cst). One without sleeps here only: it may_sleep(), and a push wakes it (I1, I2).
//   V3  The owner takes requests before it hands the batch over, and cancels after: so a cancellation finds what it is
//       meant for, or that it is over.
#pragma once

#include "base/atomic.h"
#include "io/operation.h"
#include "sched/sched.h"

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace erlking::io {

/// Sees to it that the owner of a driver calls poll() soon; any thread. Without `call` the driver does it alone (V2).
struct Rouse {
  void (*call)(void* owner) noexcept = nullptr;
  void* owner = nullptr;
};

class Driver : public sched::Poller {
 public:
  explicit Driver(Rouse rouse) noexcept : rouse_(rouse) {}
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// What Options and the command line call it.
  virtual std::string_view name() const noexcept = 0;

  // --- owner thread only ---

  /// Lines `operation` up for the next poll() (V1).
  void start(Operation& operation) noexcept {
    operation.next = nullptr;
    (batch_tail_ != nullptr ? batch_tail_->next : batch_head_) = &operation;
    batch_tail_ = &operation;
    ++pending_;
  }

  /// Announces a sleep of an owner without a Rouse (V2): false: something is asked already. Then sleep(), and awake().
  bool may_sleep() noexcept { return requests_.may_sleep(); }
  void awake() noexcept { requests_.awake(); }  ///< That sleep is over.

  // --- any thread ---

  /// Whether it takes the codes of files.
  virtual bool does_files() const noexcept = 0;
  /// Does `operation` at once, if that takes no waiting: true, and `result` is set; done is not, nobody is woken.
  virtual bool attempt(Operation& operation) noexcept = 0;
  /// start() for another thread.
  void post(Operation& operation) noexcept { push(operation.to_start); }
  /// Asks for the end of `operation`, once (O2).
  void cancel(Operation& operation) noexcept { push(operation.to_cancel); }
  bool asked() const noexcept final { return !requests_.empty(); }
  /// As a request that asks for nothing: poll() is called soon.
  void rouse() noexcept {
    if (requests_.rouse()) wake();
  }

 protected:
  /// Takes what other threads ask for: starts go into the batch, cancellations to those to come (V3).
  void take_requests() noexcept;
  /// The oldest of the batch, or null.
  Operation* take_from_batch() noexcept {
    Operation* const operation = batch_head_;
    if (operation == nullptr) return nullptr;
    batch_head_ = operation->next;
    if (batch_head_ == nullptr) batch_tail_ = nullptr;
    return operation;
  }
  bool has_batch() const noexcept { return batch_head_ != nullptr; }
  /// The next to be cancelled, or null; after has_batch() says no. The caller says cancel_seen() of it.
  Operation* next_to_cancel() noexcept {
    Request* const request = cancels_;
    if (request == nullptr) return nullptr;
    cancels_ = request->link;
    return request->operation;
  }
  void put_back_to_cancel(Operation& operation) noexcept {
    operation.to_cancel.link = cancels_;
    cancels_ = &operation.to_cancel;
  }
  /// The request has been seen; `operation` may be gone after this if it is done.
  static void cancel_seen(Operation& operation) noexcept {
    auto* const wake = operation.wake;
    void* const waiter = operation.waiter;
    operation.cancel_seen.store(true, base::seq_cst);  // [op-done]
    wake(waiter);
  }
  /// `operation`, started here, is over.
  void end(Operation& operation, std::int32_t result) noexcept {
    --pending_;
    finish(operation, result);
  }

 private:
  void push(Request& request) noexcept {
    const bool sleeps = requests_.push(request);
    if (rouse_.call != nullptr) {
      rouse_.call(rouse_.owner);
    } else if (sleeps) {
      wake();
    }
  }

  Operation *batch_head_ = nullptr, *batch_tail_ = nullptr;
  Request* cancels_ = nullptr;
  const Rouse rouse_;
  alignas(base::kCacheLine) sched::Inbox<base::Real, Request> requests_;
};

/// The drivers there are, the default first.
std::vector<std::string_view> driver_names();
/// Which driver to use when `wanted` is asked for: that one if it works here; if it does not and another does, that
/// one, and why. An unknown name, or none that works, is answered with a sentence saying what is allowed or missing.
struct Choice {
  std::string_view name;
  bool non_blocking;  ///< what descriptors must be for it
  std::string why;    ///< empty: as wanted
};
std::expected<Choice, std::string> choose_driver(std::string_view wanted);
/// One of driver_names(), for the calling thread. Null: the system refuses it, errno says why.
std::unique_ptr<Driver> make_driver(std::string_view name, Rouse rouse) noexcept;

/// Back ends (driver_*.cc): one function each, a row each in driver.cc. Null: errno says why.
std::unique_ptr<Driver> make_uring_driver(Rouse rouse) noexcept;
std::unique_ptr<Driver> make_epoll_driver(Rouse rouse) noexcept;

}  // namespace erlking::io
