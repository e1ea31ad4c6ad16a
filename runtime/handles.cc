#include "runtime/handles.h"

#include "base/log.h"
#include "runtime/system.h"

#include <fmt/format.h>

namespace erlking::detail {

void handle_unknown(Message&& message) {
  Process& self = self_process();
  if (message.kind() == MessageKind::call) exit(Reason("unknown_request", message.type_name()));
  base::log(base::Level::warning, "behaviour",
            fmt::format("{} {}: a message it does not handle: {}", to_string(self.pid()), self.start->name,
                        message.type_name()));
}

}  // namespace erlking::detail
