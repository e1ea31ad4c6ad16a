#include "io/service.h"

#include "base/mutex.h"

#include <cerrno>
#include <new>

namespace erlking::io {

std::unique_ptr<Service> Service::make(std::string_view driver) noexcept {
  std::unique_ptr<Service> service(new (std::nothrow) Service);
  if (service == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  service->name_ = driver;
  if (!service->thread_.start("ek-io", &main, service.get())) {
    errno = EAGAIN;
    return nullptr;
  }
  while (service->made_.load(base::acquire) == 0) base::futex_wait(service->made_, 0);
  if (service->driver_ != nullptr) return service;
  const int fault = service->fault_;
  service.reset();
  errno = fault;
  return nullptr;
}

Service::~Service() {
  stopping_.store(true, base::seq_cst);
  if (made_.load(base::acquire) == 1) driver_->rouse();
  thread_.join();
}

void* Service::main(void* self) {
  auto& service = *static_cast<Service*>(self);
  service.driver_ = make_driver(service.name_, {});
  if (service.driver_ == nullptr) service.fault_ = errno;
  service.made_.store(service.driver_ != nullptr ? 1 : 2, base::release);
  base::futex_wake(service.made_);
  if (service.driver_ == nullptr) return nullptr;
  Driver& driver = *service.driver_;
  while (!service.stopping_.load(base::seq_cst)) {
    driver.poll();
    if (driver.may_sleep() && !service.stopping_.load(base::seq_cst)) driver.sleep(base::kForever);
    driver.awake();
  }
  return nullptr;
}

}  // namespace erlking::io
