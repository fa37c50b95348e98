#include <zookeeper/zookeeper.h>

// The library is the one with threads of its own (zookeeper_mt). THREADED is not defined on purpose: all that the header
// declares with it are the calls that block.

// What Swift cannot touch because it is a global variable.

/// Everybody may do everything.
static inline const struct ACL_vector *czookeeper_acl_of_all(void) { return &ZOO_OPEN_ACL_UNSAFE; }

/// Whoever has the credentials of the session that made the node may do everything, nobody else anything.
static inline const struct ACL_vector *czookeeper_acl_of_creator(void) { return &ZOO_CREATOR_ALL_ACL; }
