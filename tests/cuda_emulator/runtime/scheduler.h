// Runs the threads of a CUDA launch on one CPU thread: every CUDA thread is a fiber.
//
// Blocks run one after another. Inside a block a fiber runs until it reaches a barrier or a warp
// operation, then the next one runs; when all wait at the same barrier, all are released. The order
// of threads and of blocks is a parameter: a correct kernel gives the same result in every order.
// What CUDA forbids is reported with the line of the kernel: barriers that only some threads reach,
// shuffles with lanes that never come, more shared memory than a block may have.
#pragma once
#include <sys/mman.h>
#include <xmmintrin.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#include "sanitizers.h"

struct dim3 {
    unsigned x, y, z;
};

namespace emulator {

constexpr int warp_size = 32;
constexpr int max_block = 1024;
constexpr size_t shared_limit = 48 * 1024;  // what a block may have without opting in to more
constexpr size_t stack_size = 64 * 1024;
constexpr size_t page = 4096;

enum class State : uint8_t { ready, at_barrier, in_warp_operation, finished };
enum Order { forward, reverse, random_threads, random_warps, strided };

struct Fiber {
    void* stack_pointer;
    SanitizedStack stack;
    dim3 index;
    int number;                  // x + y * blockDim.x + z * blockDim.x * blockDim.y
    State state;
    int line;                    // where it waits
    unsigned warp_operations;    // how many it took part in
    const void* last_atomic;     // for fences: the address of its latest atomic
    bool fenced;                 // whether it passed a __threadfence
};

// What the lanes of a warp exchange. Two buffers, because a fast lane may begin the next operation
// before a slow one has read the result of this one.
struct Warp {
    uint64_t value[2][warp_size];
    char* token[2];
    unsigned arrived, expected;
    int line;
};

struct SharedArray {
    int id;
    size_t bytes;
    char* memory;
};

// The launch that is running. One at a time in a process.
static dim3 grid_size, block_size, block_index, thread_index;
static int block_threads;
static size_t dynamic_bytes;
static bool uses_fibers, failed;
static char message[512];
static const std::function<void()>* body;

static Fiber* all_fibers;         // a pool that only grows
static int fiber_count;
static Fiber* fibers;             // those of the running block
static Fiber* current;
static void* launcher_pointer;    // the stack that called `run`
static SanitizedStack launcher;
static Warp warps[max_block / warp_size];
// A plain array: std::vector's functions would be watched by ThreadSanitizer.
static SharedArray shared_arrays[64];
static int shared_count;
static char* dynamic_memory;

// ---- ordering tokens (only ThreadSanitizer looks at them) --------------------------------------
static char launch_begins, launch_ends;
static char* barrier_token;

EMULATOR_INTERNAL static char* reserve(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("cuda emulator: mmap");
        abort();
    }
    return (char*)memory;
}

EMULATOR_INTERNAL static char* new_token() {
    constexpr size_t count = size_t(1) << 23;
    static char* tokens = reserve(8 * count);
    static size_t next = 0;
    return tokens + 8 * (next++ % count);
}

// ---- failures ----------------------------------------------------------------------------------
EMULATOR_INTERNAL static void switch_to_launcher(Fiber* fiber);

// Ends the launch with a message. Does not return into a fiber.
EMULATOR_INTERNAL static void fail(const char* format, ...) {
    if (!failed) {
        failed = true;
        int used = snprintf(message, sizeof message, "block (%u, %u, %u): ", block_index.x,
                            block_index.y, block_index.z);
        va_list values;
        va_start(values, format);
        vsnprintf(message + used, sizeof message - used, format, values);
        va_end(values);
    }
    if (current) switch_to_launcher(current);
}

// ---- switching stacks --------------------------------------------------------------------------
#if !defined(__x86_64__)
#error "the CUDA emulator switches stacks in x86-64 assembly"
#endif
extern "C" void emulator_switch(void** save, void* load);
asm(R"(
.text
.local emulator_switch
.type emulator_switch, @function
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size emulator_switch, .-emulator_switch
)");

EMULATOR_INTERNAL static void switch_to_launcher(Fiber* fiber) {
    before_switch(fiber->stack, launcher);
    emulator_switch(&fiber->stack_pointer, launcher_pointer);
    after_switch(fiber->stack, &launcher);
}

EMULATOR_INTERNAL static void resume(Fiber* fiber) {
    current = fiber;
    thread_index = fiber->index;
    before_switch(launcher, fiber->stack);
    emulator_switch(&launcher_pointer, fiber->stack_pointer);
    after_switch(launcher, nullptr);
    current = nullptr;
}

// A fiber's whole life: run the kernel once for the thread it stands for, wait for the next.
EMULATOR_INTERNAL static void live() {
    SanitizedStack fresh;
    after_switch(fresh, &launcher);
    for (;;) {
        Fiber* self = current;
        acquire(&launch_begins);
        (*body)();
        release(&launch_ends);
        self->state = State::finished;
        switch_to_launcher(self);
    }
}

static void grow_pool(int wanted) {
    if (wanted <= fiber_count) return;
    Fiber* larger = (Fiber*)calloc(wanted, sizeof(Fiber));
    if (fiber_count) memcpy((void*)larger, (void*)all_fibers, fiber_count * sizeof(Fiber));
    all_fibers = larger;
    for (; fiber_count < wanted; fiber_count++) {
        Fiber& fiber = all_fibers[fiber_count];
        char* memory = reserve(page + stack_size);
        mprotect(memory, page, PROT_NONE);  // a stack overflow stops here
        fiber.stack.bottom = memory + page;
        fiber.stack.size = stack_size;
        // Staggered tops: at equal offsets all stacks would share the same few cache sets.
        size_t stagger = size_t(fiber_count) * 448 % 16384 / 64 * 64;
        void** top = (void**)(memory + page + stack_size - stagger);
        *--top = nullptr;
        *--top = (void*)live;
        for (int registers = 0; registers < 6; registers++) *--top = nullptr;
        fiber.stack_pointer = top;
        create(fiber.stack);
    }
}

// ---- barriers, warps, fences -------------------------------------------------------------------
EMULATOR_INTERNAL static void barrier(int line) {
    if (!uses_fibers) return fail("line %d: a barrier in a launch without fibers", line);
    char* token = barrier_token;
    release(token);
    current->state = State::at_barrier;
    current->line = line;
    switch_to_launcher(current);
    acquire(token);
}

EMULATOR_INTERNAL static unsigned existing_lanes(int warp) {
    int count = block_threads - warp * warp_size;
    return count >= warp_size ? 0xffffffffu : (1u << count) - 1;
}

// Waits for all lanes of `mask`; returns which of the two buffers holds their values.
EMULATOR_INTERNAL static int meet(unsigned mask, uint64_t value, int line) {
    Fiber* self = current;
    int number = self->number / warp_size, lane = self->number % warp_size;
    Warp& warp = warps[number];
    unsigned expected = mask & existing_lanes(number);
    int buffer = self->warp_operations++ & 1;
    if (!(mask >> lane & 1))
        fail("thread %d, line %d: the calling lane is not in its own mask", self->number, line);
    if (!warp.arrived) {
        warp.expected = expected;
        warp.line = line;
        warp.token[buffer] = new_token();
    } else if (warp.expected != expected || warp.line != line) {
        fail("warp %d: its lanes meet in different warp operations (lines %d and %d)", number,
             warp.line, line);
    }
    warp.value[buffer][lane] = value;
    warp.arrived |= 1u << lane;
    char* token = warp.token[buffer];
    release(token);
    self->state = State::in_warp_operation;
    self->line = line;
    if (warp.arrived == expected) {
        warp.arrived = 0;
        for (int l = 0; l < warp_size; l++)
            if (expected >> l & 1) fibers[number * warp_size + l].state = State::ready;
    }
    switch_to_launcher(self);
    acquire(token);
    return buffer;
}

EMULATOR_INTERNAL static int lane() { return current->number % warp_size; }

template <class T>
EMULATOR_INTERNAL static T shuffle(unsigned mask, T value, int source, bool in_range, int line) {
    static_assert(sizeof(T) <= 8, "shuffles move 4 or 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    int buffer = meet(mask, bits, line);
    if (!in_range) return value;
    if (!(mask >> source & 1))
        fail("thread %d, line %d: the shuffle reads lane %d, which is not in the mask",
             current->number, line, source);
    memcpy(&value, &warps[current->number / warp_size].value[buffer][source], sizeof value);
    return value;
}

EMULATOR_INTERNAL static unsigned ballot(unsigned mask, bool predicate, int line) {
    int buffer = meet(mask, predicate, line);
    unsigned votes = 0;
    for (int l = 0; l < warp_size; l++)
        if ((mask & existing_lanes(current->number / warp_size)) >> l & 1)
            votes |= unsigned(warps[current->number / warp_size].value[buffer][l] & 1) << l;
    return votes;
}

// A fence orders nothing by itself. Writes, fence, atomic in one thread and atomic, fence, reads in
// another that saw the first one's value: that is ordered.
EMULATOR_INTERNAL static void fence() {
    if (!current) return;
    if (current->last_atomic) acquire(current->last_atomic);
    current->fenced = true;
}

EMULATOR_INTERNAL static void before_atomic(const void* address) {
    if (!current) return;
    if (current->fenced) release(address);
    current->last_atomic = address;
}

// ---- shared memory -----------------------------------------------------------------------------
// All bytes 0xff: every float among them is NaN, so that a cell nobody wrote shows in the result.
EMULATOR_INTERNAL static void spoil(char* memory, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) memory[i] = (char)0xff;
}

static char* arena;  // ThreadSanitizer builds only; reserved before the first fiber runs
static size_t arena_used;
constexpr size_t arena_size = size_t(1) << 30;

EMULATOR_INTERNAL static char* new_shared_memory(size_t bytes) {
    void* memory = nullptr;
    if (checks_races) {
        // Never used twice, or the blocks would seem to race for it; not from malloc, which
        // ThreadSanitizer would take for a write by the fiber that happened to ask first.
        memory = arena + arena_used;
        arena_used += (bytes + 255) / 128 * 128;
        if (arena_used > arena_size) abort();
    } else if (posix_memalign(&memory, 128, bytes)) {
        abort();
    }
    spoil((char*)memory, bytes);
    return (char*)memory;
}

// Storage of one `__shared__` declaration in the running block.
EMULATOR_INTERNAL static void* shared_array(int id, size_t bytes) {
    for (int i = 0; i < shared_count; i++)
        if (shared_arrays[i].id == id) return shared_arrays[i].memory;
    if (shared_count == sizeof shared_arrays / sizeof *shared_arrays) abort();
    SharedArray& array = shared_arrays[shared_count++];
    array.id = id;
    array.bytes = bytes;
    array.memory = new_shared_memory(bytes);
    return array.memory;
}

EMULATOR_INTERNAL static void* dynamic_shared() { return dynamic_memory; }

EMULATOR_INTERNAL static void renew_shared_memory() {
    if (checks_races) {
        shared_count = 0;
        dynamic_memory = nullptr;
    }
    for (int i = 0; i < shared_count; i++) spoil(shared_arrays[i].memory, shared_arrays[i].bytes);
    if (dynamic_bytes && !dynamic_memory) dynamic_memory = new_shared_memory(dynamic_bytes);
    if (dynamic_bytes) spoil(dynamic_memory, dynamic_bytes);
}

EMULATOR_INTERNAL static void drop_shared_memory() {
    size_t total = dynamic_bytes;
    for (int i = 0; i < shared_count; i++) {
        total += shared_arrays[i].bytes;
        if (!checks_races) free(shared_arrays[i].memory);
    }
    if (!checks_races) free(dynamic_memory);
    shared_count = 0;
    dynamic_memory = nullptr;
    if (total > shared_limit)
        fail("uses %zu bytes of shared memory; %zu is the limit", total, shared_limit);
}

// ---- the schedule ------------------------------------------------------------------------------
static uint64_t random_state;

static uint64_t random_number() {  // xorshift64
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void shuffle_order(std::vector<int>& numbers) {
    for (size_t i = numbers.size(); i > 1; i--)
        std::swap(numbers[i - 1], numbers[random_number() % i]);
}

// The numbers 0 .. count-1 in the order that is asked for; `group` numbers are a warp.
static void arrange(std::vector<int>& numbers, int count, Order order, int group) {
    numbers.clear();
    if (order == strided) {
        for (int first = 0; first < group; first++)
            for (int i = first; i < count; i += group) numbers.push_back(i);
    } else if (order == random_warps) {
        std::vector<int> groups((count + group - 1) / group);
        for (size_t i = 0; i < groups.size(); i++) groups[i] = i;
        shuffle_order(groups);
        for (int g : groups)
            for (int i = g * group; i < std::min(count, (g + 1) * group); i++)
                numbers.push_back(i);
    } else {
        for (int i = 0; i < count; i++) numbers.push_back(order == reverse ? count - 1 - i : i);
        if (order == random_threads) shuffle_order(numbers);
    }
}

static dim3 position(unsigned number, dim3 size) {
    return {number % size.x, number / size.x % size.y, number / (size.x * size.y)};
}

// Runs the fibers of one block until all have finished or something is wrong.
EMULATOR_INTERNAL static void run_block(Order order) {
    std::vector<int> sequence;
    barrier_token = new_token();
    for (int i = 0; i < block_threads; i++) {
        Fiber& fiber = fibers[i];
        fiber.number = i;
        fiber.index = position(i, block_size);
        fiber.state = State::ready;
        fiber.warp_operations = 0;
        fiber.last_atomic = nullptr;
        fiber.fenced = false;
    }
    for (Warp& warp : warps) warp.arrived = 0;
    while (!failed) {
        bool anyone_ran = false;
        arrange(sequence, block_threads, order, warp_size);
        for (int i : sequence) {
            if (fibers[i].state != State::ready) continue;
            resume(&fibers[i]);
            anyone_ran = true;
            if (failed) return;
        }
        int finished = 0, waiting = 0, line = 0, stuck = -1;
        for (int i = 0; i < block_threads; i++) {
            Fiber& fiber = fibers[i];
            if (fiber.state == State::finished) finished++;
            if (fiber.state == State::in_warp_operation) stuck = i;
            if (fiber.state != State::at_barrier) continue;
            if (waiting++ && fiber.line != line)
                return fail("threads wait at barriers of different lines (%d and %d)", line,
                            fiber.line);
            line = fiber.line;
        }
        if (finished == block_threads) return;
        if (waiting + finished == block_threads) {
            if (finished)
                return fail("%d threads returned while %d wait at the barrier in line %d", finished,
                            waiting, line);
            barrier_token = new_token();
            for (int i = 0; i < block_threads; i++) fibers[i].state = State::ready;
        } else if (!anyone_ran) {
            return fail("thread %d waits in the warp operation of line %d for lanes that never come"
                        " (%d threads wait at a barrier, %d returned)",
                        stuck, fibers[stuck].line, waiting, finished);
        }
    }
}

// Runs a launch; true if it failed, with the reason in `message`.
EMULATOR_INTERNAL static bool run(dim3 grid, dim3 block, size_t shared, bool with_fibers, int order,
                                  uint64_t seed, const std::function<void()>& kernel) {
    failed = false;
    message[0] = 0;
    grid_size = grid;
    block_size = block;
    dynamic_bytes = shared;
    body = &kernel;
    random_state = seed * 2654435761u + 88172645463325252ull;
    uses_fibers = with_fibers || checks_races;
    block_threads = block.x * block.y * block.z;
    int blocks = grid.x * grid.y * grid.z, sets = 1;
    if (checks_races) {  // thread i of two blocks must be two threads; two sets are enough
        sets = std::min(blocks, 2);
        if (!arena) arena = reserve(arena_size);
    }
    adopt_current(launcher);
    release(&launch_begins);
    if (uses_fibers) grow_pool(block_threads * sets);

    unsigned float_mode = _mm_getcsr();
    _mm_setcsr(float_mode | 0x8040);  // denormals are zero: CuPy compiles with -ftz=true
    std::vector<int> block_order, thread_order;
    arrange(block_order, blocks, (Order)order, warp_size);
    for (int k = 0; k < blocks && !failed; k++) {
        block_index = position(block_order[k], grid);
        renew_shared_memory();
        if (uses_fibers) {
            fibers = all_fibers + size_t(k % sets) * block_threads;
            run_block((Order)order);
        } else {
            arrange(thread_order, block_threads, (Order)order, warp_size);
            for (int i : thread_order) {
                thread_index = position(i, block);
                kernel();
            }
        }
    }
    _mm_setcsr(float_mode);
    acquire(&launch_ends);
    if (failed && uses_fibers) {  // half-run fibers can't be used again
        all_fibers = nullptr;
        fiber_count = 0;
    }
    drop_shared_memory();
    return failed;
}

}  // namespace emulator
