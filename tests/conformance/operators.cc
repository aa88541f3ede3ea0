/* Every operator new and delete, the new-handler, and std::bad_alloc. */
#include "check.h"

#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <vector>

static volatile std::size_t impossible = ~std::size_t{0} / 2 + 1;
static int calls;

static void gives_up_at_3()
{
    if (++calls == 3)
        std::set_new_handler(nullptr);
}

struct refusal {
};
static void refuses()
{
    calls++;
    throw refusal();
}

template <class Body> static bool throws_bad_alloc(Body body)
{
    try {
        body();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

static void handlers()
{
    calls = 0;
    std::set_new_handler(gives_up_at_3);
    CHECK(throws_bad_alloc([] { ::operator delete(::operator new(impossible)); }));
    CHECK(calls == 3);
    CHECK(throws_bad_alloc([] { ::operator delete[](::operator new[](impossible)); }));
    CHECK(throws_bad_alloc(
        [] { ::operator delete(::operator new(impossible, std::align_val_t(64)), std::align_val_t(64)); }));
    calls = 0;
    std::set_new_handler(gives_up_at_3);
    void *none = ::operator new(impossible, std::nothrow);
    CHECK(!none && calls == 3);
    calls = 0;
    std::set_new_handler(refuses);
    bool refused = false;
    try {
        ::operator delete(::operator new(impossible));
    } catch (const refusal &) {
        refused = true;
    }
    CHECK(refused && calls == 1);
    std::set_new_handler(gives_up_at_3);
    calls = 2;
    none = ::operator new[](impossible, std::align_val_t(128), std::nothrow);
    CHECK(!none && calls == 3);
    std::set_new_handler(nullptr);
}

static void forms()
{
    for (std::size_t size : {0, 1, 16, 100, 1000, 5000, 70000, 40000000}) {
        void *p = ::operator new(size);
        CHECK(p && reinterpret_cast<std::uintptr_t>(p) % 16 == 0);
        std::memset(p, 1, size);
        ::operator delete(p);
        ::operator delete(::operator new(size), size);
        ::operator delete[](::operator new[](size));
        ::operator delete[](::operator new[](size), size);
        ::operator delete(::operator new(size, std::nothrow), std::nothrow);
        ::operator delete[](::operator new[](size, std::nothrow), std::nothrow);
        for (std::size_t align : {8, 32, 256, 4096, 1 << 20}) {
            auto a = std::align_val_t(align);
            void *q = ::operator new(size, a);
            CHECK(q && reinterpret_cast<std::uintptr_t>(q) % align == 0);
            ::operator delete(q, a);
            ::operator delete(::operator new(size, a), size, a);
            ::operator delete[](::operator new[](size, a), a);
            ::operator delete[](::operator new[](size, a), size, a);
            ::operator delete(::operator new(size, a, std::nothrow), a, std::nothrow);
            ::operator delete[](::operator new[](size, a, std::nothrow), a, std::nothrow);
        }
    }
    ::operator delete(nullptr);
    std::vector<std::string> words;
    for (int i = 0; i < 2000; i++)
        words.push_back(std::string(static_cast<std::size_t>(i), 'x'));
    CHECK(words[1999].size() == 1999);
}

int main()
{
    forms();
    handlers();
    std::printf("%d failures\n", check_failures);
    return check_failures != 0;
}
