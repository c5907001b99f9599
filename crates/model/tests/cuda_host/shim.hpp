// CUDA C as C++: a grid is a loop over blocks, a block is 256 fibers that synchronize at barriers.
//
// Blocks and threads run one after another, in forward or reverse order, so that a missing barrier or two threads that
// write the same element cause a difference. Shared memory is filled with NaN before each block, because a GPU does not
// clear it either. Operations of a warp (`intrinsics.hpp`) are barriers of the whole block here.
#include <csetjmp>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __device__
#define __grid_constant__
#define __shared__ static __attribute__((section("cuda_shared")))

struct Index {
    unsigned x, y, z;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Shared memory of matrix products, common to all of them.
static __attribute__((section("cuda_shared"))) float4 shared_of_products[(48 << 10) / 16];
#define SHARED(NAME, BYTES)                                                  \
    static_assert(BYTES <= sizeof shared_of_products, "too much");           \
    float4* NAME = shared_of_products;

extern "C" char __start_cuda_shared[], __stop_cuda_shared[];

namespace host {

const int THREADS_OF_A_BLOCK = 256;
const size_t STACK = 64 << 10;

enum State { READY, WAITING, DONE };

struct Fiber {
    ucontext_t first;
    jmp_buf resume;
    bool started;
    State state;
    Index thread;
};

static Fiber fibers[THREADS_OF_A_BLOCK];
static char* stacks;
static Fiber* running;
static jmp_buf scheduler;
static void (*body)(void* kernel, void** args);
static void* kernel;
static void** arguments;

// A fiber exists as long as the program: when its thread is done, it waits for that of the next block.
static void live() {
    for (;;) {
        body(kernel, arguments);
        running->state = DONE;
        if (!_setjmp(running->resume)) _longjmp(scheduler, 1);
    }
}

static void resume(Fiber& fiber) {
    running = &fiber;
    threadIdx = fiber.thread;
    if (_setjmp(scheduler)) return;
    if (fiber.started) _longjmp(fiber.resume, 1);
    fiber.started = true;
    setcontext(&fiber.first);
}

static void make_fibers() {
    if (stacks) return;
    stacks = (char*)malloc(STACK * THREADS_OF_A_BLOCK);
    for (int i = 0; i < THREADS_OF_A_BLOCK; i++) {
        getcontext(&fibers[i].first);
        fibers[i].first.uc_stack.ss_sp = stacks + STACK * i;
        fibers[i].first.uc_stack.ss_size = STACK;
        fibers[i].first.uc_link = nullptr;
        makecontext(&fibers[i].first, live, 0);
    }
}

static bool any_barrier;

static void barrier() {
    if (!running) abort();  // the kernel was assumed to have no barriers, because its first block had none
    any_barrier = true;
    running->state = WAITING;
    if (!_setjmp(running->resume)) _longjmp(scheduler, 1);
    threadIdx = running->thread;
}

// Runs every thread to its next barrier until all are done; returns 1 if some wait at a barrier when others have ended.
static int run_block(int count, bool reverse) {
    memset(__start_cuda_shared, 0xFF, __stop_cuda_shared - __start_cuda_shared);
    for (int i = 0; i < count; i++) {
        fibers[i].state = READY;
        fibers[i].thread = {i % blockDim.x, i / blockDim.x, 0};
    }
    for (;;) {
        int done = 0;
        for (int i = 0; i < count; i++) {
            Fiber& fiber = fibers[reverse ? count - 1 - i : i];
            resume(fiber);
            done += fiber.state == DONE;
        }
        if (done == count) return 0;
        if (done) return 1;
    }
}

// Runs a block of a kernel without barriers, whose threads need not be fibers.
static void run_plain_block(int count, bool reverse) {
    running = nullptr;
    for (int i = 0; i < count; i++) {
        unsigned thread = reverse ? count - 1 - i : i;
        threadIdx = {thread % blockDim.x, thread / blockDim.x, 0};
        body(kernel, arguments);
    }
}

enum Barriers { UNKNOWN, NONE, SOME };

struct Kernel {
    const char* name;
    void* function;
    void (*call)(void* function, void** args);
    Kernel* next;
    Barriers barriers;  // for blocks with `rows` rows
    const size_t* sizes;  // of its arguments
    int arity;
    unsigned rows;
};
static Kernel* kernels;

struct Register {
    Register(Kernel* k) {
        k->next = kernels;
        kernels = k;
    }
};

template <class... A, size_t... I>
static void call_with(void (*function)(A...), void** args, std::index_sequence<I...>) {
    function(*(std::remove_const_t<A>*)args[I]...);
}

template <class F> struct Call;
template <class... A> struct Call<void(A...)> {
    static void call(void* function, void** args) {
        call_with((void (*)(A...))function, args, std::index_sequence_for<A...>());
    }
    static constexpr int arity = sizeof...(A);
    static constexpr size_t sizes[] = {sizeof(A)...};
};

}  // namespace host

#define __syncthreads() host::barrier()

#define KERNEL(NAME, PARAMS)                                                                                      \
    extern "C" void NAME PARAMS;                                                                                  \
    static host::Kernel kernel_##NAME = {#NAME, (void*)NAME, host::Call<decltype(NAME)>::call, nullptr,           \
                                         host::UNKNOWN, host::Call<decltype(NAME)>::sizes,                        \
                                         host::Call<decltype(NAME)>::arity, 0};                                   \
    static host::Register register_##NAME(&kernel_##NAME);                                                        \
    extern "C" void NAME PARAMS

// Returns 0 on success, 1 if there is no such kernel, 2 if a barrier is not reached by all threads.
extern "C" int host_launch(const char* name, const unsigned grid[3], const unsigned block[2], void** args, int reverse) {
    host::make_fibers();
    host::Kernel* k = host::kernels;
    while (k && strcmp(k->name, name)) k = k->next;
    if (!k) return 1;
    host::body = k->call;
    host::kernel = k->function;
    host::arguments = args;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], 1};
    unsigned long long blocks = (unsigned long long)grid[0] * grid[1] * grid[2];
    if (k->rows != block[1]) k->barriers = host::UNKNOWN;
    k->rows = block[1];
    for (unsigned long long b = 0; b < blocks; b++) {
        unsigned long long at = reverse ? blocks - 1 - b : b;
        blockIdx = {(unsigned)(at % grid[0]), (unsigned)(at / grid[0] % grid[1]), (unsigned)(at / grid[0] / grid[1])};
        int threads = block[0] * block[1];
        if (k->barriers == host::NONE) {
            host::run_plain_block(threads, reverse);
            continue;
        }
        host::any_barrier = false;
        if (host::run_block(threads, reverse)) return 2;
        if (k->barriers == host::UNKNOWN) k->barriers = host::any_barrier ? host::SOME : host::NONE;
    }
    return 0;
}
