#include "crocksdb.h"
