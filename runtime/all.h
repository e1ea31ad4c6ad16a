// All that users see of the runtime: processes and what they say to each other, without the outside world (net).
#pragma once

#include "runtime/alias.h"          // IWYU pragma: export
#include "runtime/async.h"          // IWYU pragma: export
#include "runtime/blocking.h"       // IWYU pragma: export
#include "runtime/call.h"           // IWYU pragma: export
#include "runtime/child.h"          // IWYU pragma: export
#include "runtime/exit.h"           // IWYU pragma: export
#include "runtime/fault.h"          // IWYU pragma: export
#include "runtime/flight_record.h"  // IWYU pragma: export
#include "runtime/groups.h"         // IWYU pragma: export
#include "runtime/handler.h"        // IWYU pragma: export
#include "runtime/handles.h"        // IWYU pragma: export
#include "runtime/holders.h"        // IWYU pragma: export
#include "runtime/monitor.h"        // IWYU pragma: export
#include "runtime/receive.h"        // IWYU pragma: export
#include "runtime/region.h"         // IWYU pragma: export
#include "runtime/report.h"         // IWYU pragma: export
#include "runtime/request.h"        // IWYU pragma: export
#include "runtime/runtime.h"        // IWYU pragma: export
#include "runtime/select.h"         // IWYU pragma: export
#include "runtime/self.h"           // IWYU pragma: export
#include "runtime/send.h"           // IWYU pragma: export
#include "runtime/server.h"         // IWYU pragma: export
#include "runtime/spawn.h"          // IWYU pragma: export
#include "runtime/state_machine.h"  // IWYU pragma: export
#include "runtime/supervisor.h"     // IWYU pragma: export
#include "runtime/sys.h"            // IWYU pragma: export
#include "runtime/timer.h"          // IWYU pragma: export
#include "runtime/tree.h"           // IWYU pragma: export
