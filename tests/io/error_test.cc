// What errno means to a caller, and that each failure has a word and a sentence.
#include "io/io.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

namespace erlking {
namespace {

TEST(IoErrorTest, EachFailureHasAWordOfItsOwnAndASentence) {
  std::set<std::string> words, sentences;
  for (unsigned i = 0; i <= static_cast<unsigned>(IoFailure::failed); ++i) {
    const auto kind = static_cast<IoFailure>(i);
    words.insert(std::string(to_string(kind)));
    sentences.insert(IoError{.kind = kind}.to_string());
  }
  EXPECT_EQ(words.size(), static_cast<std::size_t>(IoFailure::failed) + 1);
  EXPECT_EQ(sentences.size(), words.size());
  EXPECT_FALSE(words.contains(""));
}

TEST(IoErrorTest, ErrnoIsMappedAndKept) {
  const struct {
    int code;
    IoFailure kind;
  } table[] = {
      {ETIME, IoFailure::timed_out},
      {ETIMEDOUT, IoFailure::timed_out},
      {EBADF, IoFailure::closed},
      {ECONNREFUSED, IoFailure::refused},
      {ECONNRESET, IoFailure::reset},
      {EPIPE, IoFailure::reset},
      {EHOSTUNREACH, IoFailure::unreachable},
      {EADDRINUSE, IoFailure::address_in_use},
      {EADDRNOTAVAIL, IoFailure::bad_address},
      {ENOENT, IoFailure::not_found},
      {EEXIST, IoFailure::exists},
      {EACCES, IoFailure::not_permitted},
      {EMSGSIZE, IoFailure::too_large},
      {EMFILE, IoFailure::limit},
      {ENFILE, IoFailure::limit},
      {ENOMEM, IoFailure::no_memory},
      {ENOSPC, IoFailure::no_space},
      {EBUSY, IoFailure::busy},
      {EINVAL, IoFailure::invalid},
      {ECANCELED, IoFailure::cancelled},
      {EIO, IoFailure::failed},
      {123'456, IoFailure::failed},
  };
  for (const auto& row : table) {
    const IoError error = IoError::of(row.code, "read", 7);
    EXPECT_EQ(error.kind, row.kind) << row.code;
    EXPECT_EQ(error.code, row.code);
    EXPECT_EQ(error.transferred, 7u);
    EXPECT_TRUE(error == row.kind);
    EXPECT_EQ(error.to_string().find("read: "), 0u) << error.to_string();
  }
}

TEST(IoErrorTest, TheSystemsOwnWordsStandBehindOurs) {
  EXPECT_EQ(IoError::of(ECONNREFUSED, "connect").to_string(), "connect: nobody listens there (Connection refused)");
  EXPECT_EQ(IoError::of(ETIME, "read").to_string(), "read: it took longer than the bound");
  EXPECT_EQ((IoError{.kind = IoFailure::end_of_stream, .operation = "read_exactly"}.to_string()),
            "read_exactly: the peer has ended its side");
}

}  // namespace
}  // namespace erlking
