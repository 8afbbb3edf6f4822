// CUDA on the host, for tests: the sources of thinc/backends/cuda, unchanged, run in a grid
// whose threads are fibers of one thread.
//
// Honest where it counts: a warp runs as far as it can, to a barrier or its end, before the
// next one does; inside it, a thread runs to the next shuffle. Which goes first is for the
// test to choose, so a race shows as a result that depends on it. Reported as errors: barriers and shuffles that
// some threads of the block or the warp reach at another line or not at all, and loads and
// stores of 16 bytes at other addresses than multiples of 16. Not modelled: caches, the
// order in which memory becomes visible, blocks that run at the same time.
#pragma once
#include <algorithm>
#include <csetjmp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __host__
// Blocks run one after another, so one copy is enough.
#define __shared__ static

struct dim3 {
    unsigned int x = 1, y = 1, z = 1;
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace host {

inline std::string error;

inline void fail(const std::string& message) {
    if (error.empty()) error = message;
}

inline void check_aligned(const void* p, const char* what) {
    if (reinterpret_cast<uintptr_t>(p) % 16 != 0) {
        fail(std::string(what) + " of 16 bytes at an address that is no multiple of 16");
    }
}

constexpr int WARP = 32;
constexpr int MAX_THREADS = 1024;
constexpr size_t STACK = 128 * 1024;

enum class State { WAITING_TO_START, READY, AT_BARRIER, AT_SHUFFLE, DONE };

struct Thread {
    State state = State::WAITING_TO_START;
    dim3 index;
    int worker = -1;  // whose stack it is on
    int line = 0;     // where it waits
    unsigned int mask = 0;
    int source_lane = 0;
    uint64_t given = 0, received = 0;
    int vote = 0;
};

struct Worker {
    ucontext_t context;
    std::jmp_buf place;
    void* stack = nullptr;
    bool started = false;
};

// One grid at a time, hence all of this once.
inline std::vector<Thread> threads;
inline std::vector<int> order;  // in which threads start and go on, warp after warp
inline size_t next_in_order;
inline size_t start_limit;  // those from here on are of warps whose turn comes later
inline Worker workers[MAX_THREADS];
inline std::vector<int> idle;
inline std::jmp_buf scheduler_place;
inline ucontext_t scheduler_context;
inline int current;  // thread
inline int current_worker;
inline void (*body)(void*);
inline void* body_argument;

// Back to the scheduler; returns when it resumes this worker.
inline void __attribute__((noinline)) suspend() {
    Worker& self = workers[current_worker];
    if (_setjmp(self.place) == 0) _longjmp(scheduler_place, 1);
}

// A worker takes threads that have not started, one after another; a thread that waits
// keeps it, and another worker takes the rest.
inline void work() {
    for (;;) {
        while (next_in_order < start_limit) {
            const int mine = order[next_in_order++];
            current = mine;
            threads[mine].state = State::READY;
            threads[mine].worker = current_worker;
            threadIdx = threads[mine].index;
            body(body_argument);
            threads[mine].state = State::DONE;
            threads[mine].worker = -1;
        }
        idle.push_back(current_worker);
        suspend();
    }
}

inline void __attribute__((noinline)) resume(int worker) {
    Worker& w = workers[worker];
    current_worker = worker;
    if (_setjmp(scheduler_place) != 0) return;
    if (w.started) _longjmp(w.place, 1);
    if (w.stack == nullptr) {
        w.stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    w.started = true;
    getcontext(&w.context);
    w.context.uc_stack.ss_sp = w.stack;
    w.context.uc_stack.ss_size = STACK;
    w.context.uc_link = nullptr;
    makecontext(&w.context, reinterpret_cast<void (*)()>(work), 0);
    setcontext(&w.context);
}

// Waits; the results stand in the thread when it goes on.
inline Thread& wait(State state, int line) {
    const int mine = current;
    threads[mine].state = state;
    threads[mine].line = line;
    suspend();
    current = mine;
    threadIdx = threads[mine].index;
    return threads[mine];
}

// Lets the lanes of a warp that all wait at one shuffle exchange. False if they do not.
inline bool exchange(size_t first, size_t end) {
    bool any = false;
    for (size_t t = first; t < end; ++t) any |= threads[t].state == State::AT_SHUFFLE;
    if (!any) return false;
    const Thread& one = threads[first];
    for (size_t t = first; t < end; ++t) {
        const Thread& thread = threads[t];
        if (thread.state != State::AT_SHUFFLE || thread.line != one.line) {
            fail("a shuffle at line " + std::to_string(thread.line ? thread.line : one.line) +
                 " that not all lanes of the warp reach");
            return false;
        }
        if (thread.mask != 0xffffffffu) fail("a shuffle of some lanes: not supported");
    }
    if (end - first != WARP) fail("a shuffle in a warp that is not full");
    for (size_t t = first; t < end; ++t) {
        const int source = threads[t].source_lane;
        threads[t].received = threads[source >= 0 && source < WARP ? first + source : t].given;
    }
    for (size_t t = first; t < end; ++t) threads[t].state = State::READY;
    return true;
}

// Lets a block go on from a barrier. False if not all threads are at the same one; those
// that have returned count as arrived, as on the device.
inline bool pass_barrier() {
    int line = 0, votes = 0, waiting = 0;
    for (const Thread& thread : threads) {
        if (thread.state == State::DONE) continue;
        if (thread.state != State::AT_BARRIER) return false;
        if (line != 0 && thread.line != line) {
            fail("barriers at lines " + std::to_string(line) + " and " +
                 std::to_string(thread.line) + " at the same time");
            return false;
        }
        line = thread.line;
        votes |= thread.vote;
        ++waiting;
    }
    if (waiting == 0) return false;
    if (waiting != static_cast<int>(threads.size())) {
        fail("a barrier at line " + std::to_string(line) + " after some threads have returned");
    }
    for (Thread& thread : threads) {
        thread.vote = votes;
        if (thread.state == State::AT_BARRIER) thread.state = State::READY;
    }
    return true;
}

// A warp, from start to end in the order, as far as it comes without the others.
inline void run_warp(size_t start, size_t end) {
    while (next_in_order < end) {
        const int worker = idle.back();
        idle.pop_back();
        resume(worker);
    }
    const size_t first = order[start] / WARP * WARP;  // the warp's number is not its turn
    do {
        for (size_t i = start; i < end; ++i) {
            const Thread& thread = threads[order[i]];
            if (thread.state == State::READY && thread.worker >= 0) resume(thread.worker);
        }
    } while (exchange(first, first + (end - start)));
}

inline void run_block() {
    const size_t count = threads.size();
    next_in_order = 0;
    for (Thread& thread : threads) thread.state = State::WAITING_TO_START;
    idle.clear();
    for (int w = MAX_THREADS - 1; w >= 0; --w) idle.push_back(w);
    for (;;) {
        for (size_t start = 0; start < count; start += WARP) {
            start_limit = start + WARP < count ? start + WARP : count;
            run_warp(start, start_limit);
            if (!error.empty()) break;
        }
        bool finished = true;
        for (const Thread& thread : threads) finished &= thread.state == State::DONE;
        if (finished) return;
        if (!error.empty() || !pass_barrier()) {
            fail("threads that wait for ever");
            // Their stacks are given up: whoever needs them next starts afresh.
            for (Worker& worker : workers) worker.started = false;
            return;
        }
    }
}

inline uint64_t next_random(uint64_t& seed, uint64_t limit) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (seed >> 33) % limit;
}

// seed 0: threads in order, 1: from the last to the first, else warps and their lanes in
// some other order. Only the last warp may have fewer than 32; it stays last.
inline void make_order(size_t count, uint64_t seed) {
    std::vector<int> warps;
    for (size_t w = 0; w < count / WARP; ++w) warps.push_back(static_cast<int>(w));
    if (seed == 1) std::reverse(warps.begin(), warps.end());
    if (seed > 1) {
        for (size_t i = warps.size(); i > 1; --i) std::swap(warps[i - 1], warps[next_random(seed, i)]);
    }
    if (count % WARP != 0) warps.push_back(static_cast<int>(count / WARP));
    order.clear();
    for (int w : warps) {
        const size_t start = order.size();
        for (size_t t = size_t(w) * WARP; t < count && t < size_t(w + 1) * WARP; ++t) {
            order.push_back(static_cast<int>(t));
        }
        if (seed == 1) std::reverse(order.begin() + start, order.end());
        if (seed > 1) {
            for (size_t i = order.size() - start; i > 1; --i) {
                std::swap(order[start + i - 1], order[start + next_random(seed, i)]);
            }
        }
    }
}

struct Launch {
    unsigned int grid[3], block[3];
    uint64_t seed;                       // of the order of threads
    unsigned long long first, end;       // blocks to run, numbered x first
};

inline void run_grid(const Launch& launch) {
    gridDim = {launch.grid[0], launch.grid[1], launch.grid[2]};
    blockDim = {launch.block[0], launch.block[1], launch.block[2]};
    const size_t count = size_t(blockDim.x) * blockDim.y * blockDim.z;
    if (count > MAX_THREADS) return fail("a block of more than 1024 threads");
    threads.assign(count, Thread());
    for (size_t t = 0; t < count; ++t) {
        threads[t].index = {static_cast<unsigned int>(t % blockDim.x),
                            static_cast<unsigned int>(t / blockDim.x % blockDim.y),
                            static_cast<unsigned int>(t / blockDim.x / blockDim.y)};
    }
    make_order(count, launch.seed);
    for (unsigned long long k = launch.first; k < launch.end && error.empty(); ++k) {
        const unsigned long long b = launch.seed % 2 == 1 ? launch.end - 1 - (k - launch.first) : k;
        blockIdx = {static_cast<unsigned int>(b % gridDim.x),
                    static_cast<unsigned int>(b / gridDim.x % gridDim.y),
                    static_cast<unsigned int>(b / gridDim.x / gridDim.y)};
        run_block();
    }
}

// ---- kernels as entries of a table -------------------------------------------------

template <typename A>
struct TypeName;
#define HOST_TYPE_NAME(type)                             \
    template <>                                          \
    struct TypeName<type> {                              \
        static std::string get() { return #type; }       \
    };
HOST_TYPE_NAME(float)
HOST_TYPE_NAME(double)
HOST_TYPE_NAME(int)
HOST_TYPE_NAME(unsigned char)
HOST_TYPE_NAME(unsigned short)
HOST_TYPE_NAME(unsigned int)
HOST_TYPE_NAME(long long)
HOST_TYPE_NAME(unsigned long long)
template <typename A>
struct TypeName<const A> {
    static std::string get() { return "const " + TypeName<A>::get(); }
};
template <typename A>
struct TypeName<A*> {
    static std::string get() { return TypeName<A>::get() + "*"; }
};

template <typename A>
A from_slot(const uint64_t* slot) {
    static_assert(sizeof(A) == 8, "an argument of a kernel has 8 bytes");
    A value;
    std::memcpy(&value, slot, 8);
    return value;
}

template <typename Kernel>
struct Caller;

template <typename... A>
struct Caller<void (*)(A...)> {
    template <size_t... I>
    static void unpack(void (*kernel)(A...), const uint64_t* slots, std::index_sequence<I...>) {
        kernel(from_slot<A>(slots + I)...);
    }

    static void call(void (*kernel)(A...), const uint64_t* slots) {
        unpack(kernel, slots, std::index_sequence_for<A...>());
    }

    static std::string signature() {
        std::string names;
        ((names += names.empty() ? TypeName<A>::get() : ", " + TypeName<A>::get()), ...);
        return names;
    }
};

template <auto KERNEL>
void call(void* slots) {
    Caller<decltype(KERNEL)>::call(KERNEL, static_cast<const uint64_t*>(slots));
}

template <auto KERNEL>
const char* signature() {
    static const std::string names = Caller<decltype(KERNEL)>::signature();
    return names.c_str();
}

struct Entry {
    void (*call)(void* slots);
    const char* (*signature)();
};

template <auto KERNEL>
constexpr Entry entry() {
    return {call<KERNEL>, signature<KERNEL>};
}

inline const char* run(const Entry& entry, const Launch* launch, void* slots) {
    error.clear();
    body = entry.call;
    body_argument = slots;
    run_grid(*launch);
    return error.c_str();
}

// ---- shuffles -----------------------------------------------------------------------

template <typename T>
T shuffle(unsigned int mask, T value, int source_lane, int line) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a shuffle moves 4 or 8 bytes");
    Thread& self = threads[current];
    self.mask = mask;
    self.source_lane = source_lane;
    std::memcpy(&self.given, &value, sizeof(T));
    const Thread& then = wait(State::AT_SHUFFLE, line);
    std::memcpy(&value, &then.received, sizeof(T));
    return value;
}

inline int vote_or(int vote, int line) {
    threads[current].vote = vote != 0;
    return wait(State::AT_BARRIER, line).vote;
}

}  // namespace host

// ---- what CUDA has built in -----------------------------------------------------------

#define __syncthreads() ((void)host::vote_or(0, __LINE__))
#define __syncthreads_or(vote) host::vote_or(vote, __LINE__)
#define __shfl_xor_sync(mask, value, lanes) \
    host::shuffle(mask, value, (host::current % host::WARP) ^ (lanes), __LINE__)
#define __shfl_up_sync(mask, value, lanes) \
    host::shuffle(mask, value, (host::current % host::WARP) - (lanes), __LINE__)

// Copied in one transaction, so the address counts.
struct uint4 {
    unsigned int x, y, z, w;
    uint4() = default;
    uint4(const uint4& from) {
        host::check_aligned(&from, "a load");
        std::memcpy(static_cast<void*>(this), &from, sizeof(uint4));
    }
    uint4& operator=(const uint4& from) {
        host::check_aligned(this, "a store");
        std::memcpy(static_cast<void*>(this), &from, sizeof(uint4));
        return *this;
    }
};

template <typename T>
T atomicAdd(T* p, T x) {
    const T old = *p;
    *p = old + x;
    return old;
}
inline int atomicMax(int* p, int x) {
    const int old = *p;
    if (x > old) *p = x;
    return old;
}
inline unsigned int atomicCAS(unsigned int* p, unsigned int expected, unsigned int x) {
    const unsigned int old = *p;
    if (old == expected) *p = x;
    return old;
}
