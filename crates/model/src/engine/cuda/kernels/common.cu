// What every kernel file shares. The files are joined into one program, this one first.
//
// Rules of all kernels: values are f32, NHWC; counts and offsets are below 2^31 elements (the host refuses more);
// a sum is taken in an order that the shapes fix, so there are no atomics and no reductions over warps; every element
// of an output is written by exactly one thread.
//
// A host that defines KERNEL itself (the tests' shim) compiles the same text as C++.

typedef unsigned int u32;
typedef unsigned long long u64;

#ifndef KERNEL
#define KERNEL(NAME, PARAMS) extern "C" __global__ void __launch_bounds__(256) NAME PARAMS
#endif

// Threads of a block, in every kernel.
#define THREADS 256

// The numbers of `Activation` on the host.
enum { ACT_NONE = 0, ACT_SILU = 1, ACT_RELU = 2, ACT_RELU6 = 3, ACT_SIGMOID = 4 };

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// Below -87 the sigmoid is under 1e-37 and its product with x must not become -inf * 0.
__device__ inline float not_too_negative(float x) { return x < -87.0f ? -87.0f : x; }

// Comparisons are written so that a NaN passes through.
__device__ inline float activate(int kind, float x) {
    switch (kind) {
    case ACT_SILU: x = not_too_negative(x); return x * sigmoid(x);
    case ACT_RELU: return x < 0.0f ? 0.0f : x;
    case ACT_RELU6: return x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x;
    case ACT_SIGMOID: return sigmoid(x);
    default: return x;
    }
}

// dy * kind'(x); zero at the corners of ReLU and ReLU6, as in PyTorch.
__device__ inline float activation_gradient(int kind, float x, float dy) {
    switch (kind) {
    case ACT_SILU: {
        x = not_too_negative(x);
        float s = sigmoid(x);
        return dy * s * (1.0f + x * (1.0f - s));
    }
    case ACT_RELU: return x > 0.0f ? dy : 0.0f;
    case ACT_RELU6: return x > 0.0f && x < 6.0f ? dy : 0.0f;
    case ACT_SIGMOID: {
        float s = sigmoid(x);
        return dy * s * (1.0f - s);
    }
    default: return dy;
    }
}

// Writes or adds: a value with several readers collects their gradients.
__device__ inline void put(float* y, float value, int add) { *y = add ? *y + value : value; }

// This thread's element; the grid covers all elements.
__device__ inline u32 element() { return blockIdx.x * (u32)THREADS + threadIdx.x; }

// A window over an input of n images of h x w x c to an output of oh x ow x oc. Mirrors `Windowed` on the host.
struct Windowed {
    int n, h, w, c, oh, ow, oc, kh, kw, stride, pad_y, pad_x;
};
static_assert(sizeof(Windowed) == 48, "Windowed is laid out as on the host");

// A pixel of an n x h x w grid.
struct Pixel {
    int n, y, x;
};

__device__ inline Pixel pixel_at(u32 i, int h, int w) {
    u32 row = i / (u32)w;
    return {(int)(row / (u32)h), (int)(row % (u32)h), (int)(i % (u32)w)};
}

// The offset of a channel of a pixel.
__device__ inline u32 offset(int n, int y, int x, int h, int w, u32 c) {
    return (((u32)n * h + y) * w + x) * c;
}
