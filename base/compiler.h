// What the two compilers spell differently.
#pragma once

/// A function no optimiser looks into from outside: calls to it are never merged, however pure it looks. For functions
/// that answer with a thread's own storage, which another thread may ask for after a switch.
#if defined(__clang__)
#define EK_NOIPA [[clang::optnone, gnu::noinline]]
#else
#define EK_NOIPA [[gnu::noipa]]
#endif
