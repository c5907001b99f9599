// What every kernel file shares. The files are joined into one program for one precision, this one first.
//
// Rules of all kernels: values are NHWC; counts and offsets are below 2^31 elements (the host refuses more); a sum is taken
// in f32 or wider, in an order that the shapes fix, so there are no atomics and no reductions over warps; every element of
// an output is written by exactly one thread. Shared memory is declared in kernels alone: a host's compiler would make that of
// a template one for all programs that it loads.
//
// A host that defines KERNEL itself (the tests' shim) compiles the same text as C++.

typedef unsigned int u32;
typedef unsigned long long u64;

// What the program computes in; its first line defines PRECISION as one of these.
#define F32 0
#define TF32 1
#define BF16 2

#ifndef KERNEL
// Two blocks a multiprocessor at least: 128 registers a thread.
#define KERNEL(NAME, PARAMS) extern "C" __global__ void __launch_bounds__(256, 2) NAME PARAMS
#endif

// Threads of a block, in every kernel.
#define THREADS 256

// The upper half of an f32.
struct bf16 {
    unsigned short bits;
};

// How values and their gradients lie in memory. Parameters, their gradients, statistics and vectors of one value a channel
// are f32 always.
#if PRECISION == BF16
typedef bf16 Element;
#else
typedef float Element;
#endif

// Elements that one thread loads at once: 16 bytes.
#define WIDE (16 / (int)sizeof(Element))
