/* Does not compile. */
#include <rover/rover.h>

int broken(void *ctx)
{
    return no_such_name;
}
