// What the scheduler tells AddressSanitizer and ThreadSanitizer about its fibers.
//
// Neither tool knows about stacks that a program switches by hand. AddressSanitizer must hear of
// every switch, or it takes the new stack for a wild pointer. ThreadSanitizer is told that every
// fiber is a thread of its own and that switching between them orders nothing; the only orderings
// it hears of are the ones CUDA promises: barriers, warp operations, fences with atomics, and the
// beginning and end of a launch. So a race is reported whatever order the fibers happened to run
// in. In a plain build everything here is empty.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
// The scheduler's own variables are bookkeeping, not memory of the kernel under test.
#define EMULATOR_INTERNAL __attribute__((no_sanitize("thread")))
#else
#define EMULATOR_INTERNAL
#endif

namespace emulator {

#if defined(__SANITIZE_THREAD__)
constexpr bool checks_races = true;
#else
constexpr bool checks_races = false;
#endif

// "All I did so far happens before whoever acquires `token` after this."
EMULATOR_INTERNAL inline void release(const void* token) {
#if defined(__SANITIZE_THREAD__)
    __tsan_release(const_cast<void*>(token));
#else
    (void)token;
#endif
}

EMULATOR_INTERNAL inline void acquire(const void* token) {
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(const_cast<void*>(token));
#else
    (void)token;
#endif
}

// The identity of a fiber, or of the stack the launch was called on, for the sanitizer in use.
struct SanitizedStack {
    void* thread = nullptr;        // ThreadSanitizer's name for it
    void* fake_stack = nullptr;    // AddressSanitizer's shadow of its locals
    const void* bottom = nullptr;  // where its memory lies
    unsigned long size = 0;
};

EMULATOR_INTERNAL inline void create(SanitizedStack& stack) {
#if defined(__SANITIZE_THREAD__)
    stack.thread = __tsan_create_fiber(0);
#else
    (void)stack;
#endif
}

EMULATOR_INTERNAL inline void adopt_current(SanitizedStack& stack) {
#if defined(__SANITIZE_THREAD__)
    stack.thread = __tsan_get_current_fiber();
#else
    (void)stack;
#endif
}

// Call right before leaving `from` for `to` ...
EMULATOR_INTERNAL inline void before_switch(SanitizedStack& from, SanitizedStack& to) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from.fake_stack, to.bottom, to.size);
#elif defined(__SANITIZE_THREAD__)
    constexpr unsigned no_synchronisation = 1;
    __tsan_switch_to_fiber(to.thread, no_synchronisation);
#endif
    (void)from, (void)to;
}

// ... and first thing after arriving on `here`, having left `from`.
EMULATOR_INTERNAL inline void after_switch(SanitizedStack& here, SanitizedStack* from) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(here.fake_stack, from ? &from->bottom : nullptr,
                                    from ? &from->size : nullptr);
#endif
    (void)here, (void)from;
}

}  // namespace emulator
