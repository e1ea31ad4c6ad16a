// The door of input and output; other layers include only this.
//
//   Operation   one system call that may take its time, as plain data
//   Driver      begins operations and says when they are over; per worker
//   Service     a driver on a thread of its own
//   Limits      how many descriptors and bytes a runtime may have
//   Spare       threads that wait in the place of processes
//   IoError     what went wrong, in words that say what to do about it
#pragma once

#include "io/driver.h"     // IWYU pragma: export
#include "io/error.h"      // IWYU pragma: export
#include "io/limits.h"     // IWYU pragma: export
#include "io/operation.h"  // IWYU pragma: export
#include "io/service.h"    // IWYU pragma: export
#include "io/spare.h"      // IWYU pragma: export
