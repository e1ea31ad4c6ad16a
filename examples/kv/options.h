// The command line.
#pragma once

#include "examples/kv/world.h"

#include <cstdio>
#include <string>

namespace kv {

/// What it says; of what is not said the default.
struct CommandLine {
  Settings settings;
  std::string scheduler = {}, io = {};  ///< empty: not said
  bool parts_given = false, help = false;
  std::string wrong = {};  ///< what is wrong with it; empty: nothing
};
/// The flags of the runtime have been taken out.
CommandLine parse(int argc, char** argv);
void print_usage(std::FILE* out);

}  // namespace kv
