// Asking a running program at its inspection socket (docs/tree.md): one line out, the answer until the end.
#pragma once

#include <string>

namespace erlking::tools {

/// What stands in the way, for one line to the user.
struct Failure {
  std::string what;
};

/// A descriptor that is closed with it.
class Fd {
 public:
  explicit Fd(int fd) noexcept : fd_(fd) {}
  ~Fd();
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

/// What the program answers to `question`, which ends with a line end, when it may take `timeout_ms` for it. Throws
/// Failure, also when the answer is an error.
std::string ask(const std::string& path, const std::string& question, unsigned timeout_ms);

/// A question whose answer is printed as it comes, but for errors.
struct Question {
  std::string command;         ///< of this tool, for its errors
  std::string path;            ///< of the program's socket (Options.inspect)
  std::string line;            ///< with its line end
  unsigned timeout_ms = 1000;  ///< for the program to answer
};
/// The program's exit status; why it failed goes to stderr, one line.
int print_answer(const Question& question);

}  // namespace erlking::tools
