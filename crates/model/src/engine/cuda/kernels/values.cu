// Loading, storing, and functions of single values.

// N consecutive elements as f32. The address is a multiple of their size, up to 16 bytes.
template <int N> __device__ inline void load(const float* from, float (&to)[N]) {
    if (N % 4 == 0) {
#pragma unroll
        for (int i = 0; i < N / 4; i++) {
            float4 q = ((const float4*)from)[i];
            to[4 * i] = q.x, to[4 * i + 1] = q.y, to[4 * i + 2] = q.z, to[4 * i + 3] = q.w;
        }
    } else if (N % 2 == 0) {
#pragma unroll
        for (int i = 0; i < N / 2; i++) {
            float2 q = ((const float2*)from)[i];
            to[2 * i] = q.x, to[2 * i + 1] = q.y;
        }
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) to[i] = from[i];
    }
}

template <int N> __device__ inline void store(float* to, const float (&from)[N]) {
    if (N % 4 == 0) {
#pragma unroll
        for (int i = 0; i < N / 4; i++)
            ((float4*)to)[i] = make_float4(from[4 * i], from[4 * i + 1], from[4 * i + 2], from[4 * i + 3]);
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) to[i] = from[i];
    }
}

#if PRECISION == BF16
__device__ inline float lower_half(u32 pair) { return float_of(pair << 16); }
__device__ inline float upper_half(u32 pair) { return float_of(pair & 0xFFFF0000u); }

template <int N> __device__ inline void load(const bf16* from, float (&to)[N]) {
    if (N % 8 == 0) {
#pragma unroll
        for (int i = 0; i < N / 8; i++) {
            uint4 q = ((const uint4*)from)[i];
            u32 pairs[4] = {q.x, q.y, q.z, q.w};
#pragma unroll
            for (int j = 0; j < 4; j++) {
                to[8 * i + 2 * j] = lower_half(pairs[j]);
                to[8 * i + 2 * j + 1] = upper_half(pairs[j]);
            }
        }
    } else if (N % 2 == 0) {
#pragma unroll
        for (int i = 0; i < N / 2; i++) {
            u32 pair = ((const u32*)from)[i];
            to[2 * i] = lower_half(pair);
            to[2 * i + 1] = upper_half(pair);
        }
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) to[i] = float_of((u32)from[i].bits << 16);
    }
}

template <int N> __device__ inline void store(bf16* to, const float (&from)[N]) {
    if (N % 8 == 0) {
#pragma unroll
        for (int i = 0; i < N / 8; i++)
            ((uint4*)to)[i] =
                make_uint4(pack_bf16(from[8 * i], from[8 * i + 1]), pack_bf16(from[8 * i + 2], from[8 * i + 3]),
                           pack_bf16(from[8 * i + 4], from[8 * i + 5]), pack_bf16(from[8 * i + 6], from[8 * i + 7]));
    } else {
#pragma unroll
        for (int i = 0; i < N; i++) to[i].bits = (unsigned short)pack_bf16(from[i], 0.0f);
    }
}

// A value as rounded when stored in memory.
__device__ inline float stored(float x) { return lower_half(pack_bf16(x, 0.0f)); }
#else
__device__ inline float stored(float x) { return x; }
#endif

template <class E> __device__ inline float value_at(const E* from) {
    float v[1];
    load<1>(from, v);
    return v[0];
}

template <class E> __device__ inline void set_value(E* to, float value) {
    float v[1] = {value};
    store<1>(to, v);
}

// Writes or adds: a value with several readers accumulates their gradients.
template <int N, class E> __device__ inline void put(E* to, float (&values)[N], int add) {
    if (add) {
        float before[N];
        load<N>(to, before);
#pragma unroll
        for (int i = 0; i < N; i++) values[i] += before[i];
    }
    store<N>(to, values);
}

// The same kernel for elements of the program's precision, WIDE at a time (`_wide`) or one at a time (`_single`); and
// one at a time for f32 (`_f32`), the type of vectors and class maps in a bf16 program. NAME is a template of element
// and width.
#define KERNEL_OF(NAME, SUFFIX, E, N, PARAMS, ARGS)   \
    KERNEL(NAME##SUFFIX, PARAMS) {                    \
        NAME<E, N> ARGS;                              \
    }
#if PRECISION == BF16
#define KERNELS(NAME, PARAMS, ARGS)                        \
    KERNEL_OF(NAME, _wide, Element, WIDE, PARAMS, ARGS)    \
    KERNEL_OF(NAME, _single, Element, 1, PARAMS, ARGS)     \
    KERNEL_OF(NAME, _f32, float, 1, PARAMS, ARGS)
#else
#define KERNELS(NAME, PARAMS, ARGS)                        \
    KERNEL_OF(NAME, _wide, Element, WIDE, PARAMS, ARGS)    \
    KERNEL_OF(NAME, _single, Element, 1, PARAMS, ARGS)
#endif

// Tensors of such kernels, cast where the element type is known.
typedef const void* In;
typedef void* Out;

// The codes of `Activation` on the host.
enum { ACT_NONE = 0, ACT_SILU = 1, ACT_RELU = 2, ACT_RELU6 = 3, ACT_SIGMOID = 4 };

__device__ inline float sigmoid(float x) { return fast_divide(1.0f, 1.0f + fast_exp(-x)); }

// Below -87 the sigmoid is under 1e-37; clamping keeps its product with x from becoming -inf * 0.
__device__ inline float not_too_negative(float x) { return x < -87.0f ? -87.0f : x; }

// Comparisons are written so that a NaN passes through.
__device__ inline float activate(int kind, float x) {
    switch (kind) {
    case ACT_SILU: x = not_too_negative(x); return x * sigmoid(x);
    case ACT_RELU: return x < 0.0f ? 0.0f : x;
    case ACT_RELU6: return x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x;
    case ACT_SIGMOID: return sigmoid(not_too_negative(x));
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
        float s = sigmoid(not_too_negative(x));
        return dy * s * (1.0f - s);
    }
    default: return dy;
    }
}

// An activation as a type, so that loops contain no branch on the activation.
template <int KIND> struct Kind {
    static constexpr int of = KIND;
};

// Calls f with the type of an activation, which is the same for all threads.
template <class F> __device__ inline void with_kind(int kind, const F& f) {
    switch (kind) {
    case ACT_SILU: f(Kind<ACT_SILU>()); break;
    case ACT_RELU: f(Kind<ACT_RELU>()); break;
    case ACT_RELU6: f(Kind<ACT_RELU6>()); break;
    case ACT_SIGMOID: f(Kind<ACT_SIGMOID>()); break;
    default: f(Kind<ACT_NONE>());
    }
}

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

// Advances by `step` pixels in the same grid.
__device__ inline void advance(Pixel& p, int step, int h, int w) {
    p.x += step;
    while (p.x >= w) {
        p.x -= w;
        if (++p.y == h) {
            p.y = 0;
            p.n++;
        }
    }
}

// The offset of a channel of a pixel.
__device__ inline u32 offset(int n, int y, int x, int h, int w, u32 c) {
    return (((u32)n * h + y) * w + x) * c;
}

__device__ inline u32 at_most(u32 a, u32 b) { return a < b ? a : b; }
