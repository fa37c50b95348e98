// The system's <sched.h> shows this only with _GNU_SOURCE, which the module of its headers is not built with.
#pragma once

/// The core that the caller runs on at this moment; a few instructions, no system call. See sched_getcpu(3).
int sched_getcpu(void);
