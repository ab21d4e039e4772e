// A C++ name that has to be demangled: demo::Solver<int>::iterate(int).
#include <cstdlib>
#include <ctime>

namespace demo {
template <typename T> struct Solver {
    volatile T state = 1;
    __attribute__((noinline)) void iterate(int rounds)
    {
        for (int i = 0; i < rounds; i++)
            state = state * 31 + i;
    }
};
} // namespace demo

int main(int count, char **arguments)
{
    demo::Solver<int> solver;
    std::time_t end = std::time(nullptr) + (count > 1 ? std::atoi(arguments[1]) : 2);
    while (std::time(nullptr) < end)
        solver.iterate(100000);
}
