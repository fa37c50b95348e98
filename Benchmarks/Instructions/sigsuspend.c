// Loaded in front of the C library where valgrind runs a program: its own sigsuspend writes into the caller's mask, which
// libdispatch keeps in memory that cannot be written.
#include <signal.h>
#include <unistd.h>

int sigsuspend(const sigset_t *mask) {
    (void)mask;
    return pause();
}
