// The parts of Boost.JSON that are not templates, compiled here once.
#include <boost/json/src.hpp>
