// `erlking demo`: a process crashes, its watcher hears of it and starts another; told line by line as it happens.
#pragma once

#include "runtime/options.h"

namespace erlking::tools {

/// One crash and restart, about three seconds (`once`), or on and on until SIGINT or SIGTERM. The program's exit
/// status.
int run_demo(const Options& options, bool once);

}  // namespace erlking::tools
