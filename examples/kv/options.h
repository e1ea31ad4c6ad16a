// The command line.
#pragma once

#include "examples/kv/world.h"

#include <optional>

namespace kv {

/// What the command line says; of what it does not say the default.
struct CommandLine {
  Settings settings;
  bool parts_given = false;
  std::optional<int> status =
      {};  ///< the program is over, with this: it was asked for help, which has been printed, or
           ///< an error, which has been printed too
};
/// The flags of the runtime, --ek-…, have been taken out.
CommandLine parse(int argc, char** argv);

}  // namespace kv
