#include "sched/thread.h"

#include <csignal>
#include <utility>

namespace erlking::sched {

bool Thread::start(const char* name, void* (*main)(void*), void* argument) noexcept {
  sigset_t all, before;
  sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;  // the new thread inherits it
  started_ = pthread_create(&handle_, nullptr, main, argument) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (started_) pthread_setname_np(handle_, name);
  return started_;
}

void Thread::join() noexcept {
  if (std::exchange(started_, false)) pthread_join(handle_, nullptr);
}

void Thread::leave() noexcept {
  if (std::exchange(started_, false)) pthread_detach(handle_);
}

}  // namespace erlking::sched
