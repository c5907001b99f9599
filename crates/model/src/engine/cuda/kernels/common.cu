// Shared by all kernel files. The files are joined into one program for one precision, this one first.
//
// Rules of all kernels: values are NHWC; counts and offsets are below 2^31 elements (the host rejects more); sums are
// computed in f32 or wider, in an order determined by the shapes, so there are no atomics and no warp reductions; every
// element of an output is written by exactly one thread. Shared memory is declared in kernels only: a host compiler
// would share that of a template among all programs loaded.
//
// A host that defines KERNEL itself (the tests' shim) compiles the same source as C++.

typedef unsigned int u32;
typedef unsigned long long u64;

// The program's precision; its first line defines PRECISION as one of these.
#define F32 0
#define TF32 1
#define BF16 2

#ifndef KERNEL
// At least two blocks per multiprocessor: 128 registers per thread.
#define KERNEL(NAME, PARAMS) extern "C" __global__ void __launch_bounds__(256, 2) NAME PARAMS
#endif

// Threads per block, in every kernel.
#define THREADS 256

// The upper half of an f32.
struct bf16 {
    unsigned short bits;
};

// Element type of values and their gradients in memory. Parameters, their gradients, statistics and vectors with one
// value per channel are always f32.
#if PRECISION == BF16
typedef bf16 Element;
#else
typedef float Element;
#endif

// Elements that one thread loads at once: 16 bytes.
#define WIDE (16 / (int)sizeof(Element))
