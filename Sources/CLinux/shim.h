// What Swift's module of the C library leaves out.
#include <sys/timex.h>
#include <sys/vfs.h>
