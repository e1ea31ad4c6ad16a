// `erlking tree`: asks a running program for its supervision tree, and prints it or has it drawn.
#pragma once

#include <optional>
#include <string>

namespace erlking::tools {

/// As given on the command line.
struct TreeArguments {
  std::string path;                ///< of the program's socket (Options.inspect)
  bool json = false;               ///< printed as it comes
  std::optional<std::string> svg;  ///< written there instead of printed
  unsigned children = 100;         ///< of each supervisor; the others are counted
  unsigned timeout_ms = 1000;      ///< for the program to look at its tree
};

/// The program's exit status; why it failed goes to stderr, one line.
int run_tree(const TreeArguments& arguments);

}  // namespace erlking::tools
