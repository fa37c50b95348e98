// What Swift's module of the C library leaves out.
#pragma once

#include <sys/timex.h>
#include <sys/vfs.h>

/// The core that the caller runs on at this moment; a few instructions, no system call. See sched_getcpu(3). The system's
/// <sched.h> shows it only with _GNU_SOURCE.
int sched_getcpu(void);
