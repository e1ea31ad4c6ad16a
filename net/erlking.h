// Everything a program needs: processes, messages, links, monitors, calls, timeouts. `#include <erlking/erlking.h>`.
#pragma once

#include "gc/gc.h"           // IWYU pragma: export
#include "net/active.h"      // IWYU pragma: export
#include "net/file.h"        // IWYU pragma: export
#include "net/give.h"        // IWYU pragma: export
#include "net/pipe.h"        // IWYU pragma: export
#include "net/readiness.h"   // IWYU pragma: export
#include "net/resolve.h"     // IWYU pragma: export
#include "net/signals.h"     // IWYU pragma: export
#include "net/socket.h"      // IWYU pragma: export
#include "net/subprocess.h"  // IWYU pragma: export
#include "net/tls.h"         // IWYU pragma: export
#include "net/udp.h"         // IWYU pragma: export
#include "runtime/all.h"     // IWYU pragma: export
