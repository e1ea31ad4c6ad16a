// The operating system's signals as messages: a SIGHUP that asks for the configuration to be read anew is an OsSignal
// in the mailbox of whoever has subscribed.
//
//   signals::subscribe({SIGHUP, SIGUSR1});
//   for (;;) receive(forever, [](OsSignal signal) { reload(signal.number); }, …);
#pragma once

#include "io/io.h"

#include <expected>
#include <initializer_list>

namespace erlking {

/// A signal has come; several that came at almost the same time may be one, as the system has it.
struct OsSignal {
  int number = 0;  ///< SIGHUP and so on
};

namespace signals {

/// From now on the calling process gets an OsSignal for each of these, until it ends; several processes may subscribe
/// to one. While somebody does, a signal does not what it does otherwise (SIGHUP ends the program); afterwards it is as
/// it was before. SIGTERM and SIGINT also stop a tree that Runtime::run() runs, unless its options say no. A full
/// mailbox is waited for. Again: adds to what it has. Fails with invalid for SIGKILL, SIGSTOP, those that say that the
/// program has failed (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT), SIGURG, which the runtime uses
/// (docs/stalls.md), and what is no signal; with limit when the program has 64 subscriptions, or no descriptors.
/// Nothing is subscribed then. On a process only.
std::expected<void, IoError> subscribe(std::initializer_list<int> numbers);

}  // namespace signals
}  // namespace erlking
