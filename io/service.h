// Service: a driver on a thread of its own, for schedulers whose workers come and go with processes (`threads`): all of
// them post their operations to it. It sleeps in the driver only (driver.h V2).
#pragma once

#include "io/driver.h"

#include <atomic>
#include <memory>
#include <string_view>

namespace erlking::io {

class Service {
 public:
  /// Null: the system gives no driver or no thread; errno says why.
  static std::unique_ptr<Service> make(std::string_view driver) noexcept;
  /// Nothing may wait in the driver any more.
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  Driver& driver() noexcept { return *driver_; }

 private:
  Service() noexcept = default;
  static void* main(void* self);

  std::string_view name_;
  std::unique_ptr<Driver> driver_;
  sched::Thread thread_;
  std::atomic<std::uint32_t> made_{0};  // futex: 1: driver_ is there; 2: it is not, fault_ says why
  int fault_ = 0;
  std::atomic<bool> stopping_{false};
};

}  // namespace erlking::io
