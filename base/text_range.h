// Where the library's own code lies: included before all else (-include, the build's library_arguments) by each of its
// translation units, and by nothing else. For each of the sections a compiler puts functions into it leaves the
// addresses of the begin and the end of that unit's part in section ek_text_ranges, which the linker joins into one
// table (runtime/fault.cc reads it).
//
//   The begin label is the first thing in the unit; the end label lies in the last subsection, behind whatever the
//   compiler emits. What is inline or a template has a section of its own wherever it is instantiated, and is not in
//   the table. It takes -fno-function-sections, and no link-time optimisation of the library.
#pragma once

#define EK_TEXT_RANGE(section, name)                       \
  __asm__(".pushsection " section                          \
          ",\"ax\",@progbits\n"                            \
          ".Lek_" name                                     \
          "_begin:\n"                                      \
          ".subsection 8191\n"                             \
          ".Lek_" name                                     \
          "_end:\n"                                        \
          ".popsection\n"                                  \
          ".pushsection ek_text_ranges,\"aw\",@progbits\n" \
          ".balign 8\n"                                    \
          ".quad .Lek_" name "_begin, .Lek_" name          \
          "_end\n"                                         \
          ".popsection\n")

EK_TEXT_RANGE(".text", "text");
EK_TEXT_RANGE(".text.unlikely", "unlikely");
EK_TEXT_RANGE(".text.startup", "startup");
EK_TEXT_RANGE(".text.hot", "hot");
EK_TEXT_RANGE(".text.exit", "exit");

#undef EK_TEXT_RANGE
