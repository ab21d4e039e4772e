// Exceptions, virtual calls, closures and the standard library, for ever.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Shape {
    virtual double area(int depth) const = 0;
    virtual ~Shape() = default;
};
struct Nested : Shape {
    [[gnu::noinline]] double area(int depth) const override
    {
        std::vector<int> numbers(64);
        for (int i = 0; i < 64; i++)
            numbers[i] = (i * 37 + depth) % 64;
        std::sort(numbers.begin(), numbers.end(), [depth](int a, int b) { return (a ^ depth) < (b ^ depth); });
        if (depth % 7 == 6)
            throw std::runtime_error(std::to_string(numbers[3]));
        return depth ? numbers[5] + area(depth - 1) : 1;
    }
};

[[gnu::noinline]] static double caught(const Shape &shape, int depth)
{
    try {
        return shape.area(depth);
    } catch (const std::exception &error) {
        return std::string(error.what()).size();
    }
}

int main()
{
    Nested shape;
    std::map<std::string, double> sums;
    std::function<void(int)> once = [&](int i) { sums[std::to_string(i % 100)] += caught(shape, i % 9); };
    std::puts("ready");
    std::fflush(stdout);
    for (int i = 0;; i++)
        once(i);
}
