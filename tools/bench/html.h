// What a bench has found as one HTML page that needs nothing beside it: plots, drawn by D3 in the browser, and every
// figure in tables too.
#pragma once

#include "tools/bench/report.h"

#include <map>
#include <string>
#include <vector>

namespace erlking::bench {

/// What the page tells beside the figures.
struct PageFacts {
  std::string command;                        ///< that made them
  std::map<Contender, std::string> versions;  ///< "OTP-25/erts-13.1.5, JIT"
  std::vector<std::string> notes;             ///< how to read them: sentences
};

/// Whether `file` could be written, tried without touching what it holds. Empty: yes; else why not, one line.
std::string why_no_html(const std::string& file);

/// Writes `file`, whole or not at all: what it held stays until the page is complete. Empty: done; else why not, one
/// line.
std::string write_html(const std::string& file, const Board& board, const PageFacts& facts);

}  // namespace erlking::bench
