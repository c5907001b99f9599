// Depthwise convolution; weights [kh, kw, c], f32.
//
// For windows of 3 and 5 a thread computes N channels of REACH adjacent outputs, so that an input is loaded once for
// all the windows that cover it; for other windows, and for strided gradients, it computes one pixel.

// Multiplies the columns that a strip of outputs reads by its weights: sums[r] += x * w over the taps of one row.
template <class E, int N, int K, int STRIDE, int REACH, bool FLIPPED>
__device__ inline void add_row(const E* row, const float* w, int x0, int width, u32 c, float (&sums)[REACH][N]) {
    float weights[K][N];
#pragma unroll
    for (int kx = 0; kx < K; kx++) load<N>(w + (FLIPPED ? K - 1 - kx : kx) * c, weights[kx]);
#pragma unroll
    for (int i = 0; i < (REACH - 1) * STRIDE + K; i++) {
        int x = x0 + i;
        if (x < 0 || x >= width) continue;
        float v[N];
        load<N>(row + (u32)x * c, v);
#pragma unroll
        for (int r = 0; r < REACH; r++) {
            const int kx = i - r * STRIDE;
            if (kx < 0 || kx >= K) continue;
#pragma unroll
            for (int j = 0; j < N; j++) sums[r][j] += v[j] * weights[kx][j];
        }
    }
}

// The strip of outputs of a thread.
struct Strip {
    u32 channel;
    Pixel first;
    bool inside;
};

template <int N, int REACH> __device__ inline Strip strip_at(u32 i, int n, int h, int w, u32 c) {
    const u32 groups = c / N, strips = (w + REACH - 1) / REACH;
    Pixel p = pixel_at(i / groups, h, strips);
    return {i % groups * N, {p.n, p.y, p.x * REACH}, i < (u32)n * h * strips * groups};
}

template <class E, int N, int K, int STRIDE, int REACH>
__device__ inline void depthwise_strip_forward(const E* x, const float* w, const float* scale, const float* shift, E* y,
                                               const Windowed& s, int kind) {
    const u32 c = s.c;
    const Strip strip = strip_at<N, REACH>(element(), s.n, s.oh, s.ow, c);
    if (!strip.inside) return;
    const Pixel o = strip.first;
    float sums[REACH][N] = {};
    for (int ky = 0; ky < K; ky++) {
        int iy = o.y * STRIDE - s.pad_y + ky;
        if (iy < 0 || iy >= s.h) continue;
        const E* row = x + offset(o.n, iy, 0, s.h, s.w, c) + strip.channel;
        add_row<E, N, K, STRIDE, REACH, false>(row, w + ky * K * c + strip.channel, o.x * STRIDE - s.pad_x, s.w, c, sums);
    }
    float factor[N], term[N];
    for (int j = 0; j < N; j++) factor[j] = 1.0f, term[j] = 0.0f;
    if (scale) load<N>(scale + strip.channel, factor);
    if (shift) load<N>(shift + strip.channel, term);
#pragma unroll
    for (int r = 0; r < REACH; r++) {
        if (o.x + r >= s.ow) break;
        for (int j = 0; j < N; j++) sums[r][j] = activate(kind, sums[r][j] * factor[j] + term[j]);
        store<N>(y + offset(o.n, o.y, o.x + r, s.oh, s.ow, c) + strip.channel, sums[r]);
    }
}

// dx (+)= the gradient with respect to x for stride 1: the same convolution with the window flipped.
template <class E, int N, int K, int REACH>
__device__ inline void depthwise_strip_backward_input(const E* dy, const float* w, E* dx, const Windowed& s, int add) {
    const u32 c = s.c;
    const Strip strip = strip_at<N, REACH>(element(), s.n, s.h, s.w, c);
    if (!strip.inside) return;
    const Pixel p = strip.first;
    float sums[REACH][N] = {};
    for (int ky = 0; ky < K; ky++) {
        int oy = p.y + s.pad_y - (K - 1) + ky;
        if (oy < 0 || oy >= s.oh) continue;
        const E* row = dy + offset(p.n, oy, 0, s.oh, s.ow, c) + strip.channel;
        const float* taps = w + (K - 1 - ky) * K * c + strip.channel;
        add_row<E, N, K, 1, REACH, true>(row, taps, p.x + s.pad_x - (K - 1), s.ow, c, sums);
    }
#pragma unroll
    for (int r = 0; r < REACH; r++) {
        if (p.x + r >= s.w) break;
        put<N>(dx + offset(p.n, p.y, p.x + r, s.h, s.w, c) + strip.channel, sums[r], add);
    }
}

#define FORWARD_PARAMS                                                                  \
    (const Element* x, const float* w, const float* scale, const float* shift, Element* y, \
     const __grid_constant__ Windowed s, int kind)
#define FORWARD_ARGS (x, w, scale, shift, y, s, kind)
KERNEL(depthwise_forward_k3s1, FORWARD_PARAMS) {
    depthwise_strip_forward<Element, WIDE, 3, 1, 4> FORWARD_ARGS;
}
KERNEL(depthwise_forward_k5s1, FORWARD_PARAMS) {
    depthwise_strip_forward<Element, WIDE, 5, 1, 4> FORWARD_ARGS;
}
KERNEL(depthwise_forward_k3s2, FORWARD_PARAMS) {
    depthwise_strip_forward<Element, WIDE, 3, 2, 2> FORWARD_ARGS;
}
KERNEL(depthwise_forward_k5s2, FORWARD_PARAMS) {
    depthwise_strip_forward<Element, WIDE, 5, 2, 2> FORWARD_ARGS;
}

#define BACKWARD_PARAMS (const Element* dy, const float* w, Element* dx, const __grid_constant__ Windowed s, int add)
#define BACKWARD_ARGS (dy, w, dx, s, add)
KERNEL(depthwise_backward_input_k3s1, BACKWARD_PARAMS) {
    depthwise_strip_backward_input<Element, WIDE, 3, 4> BACKWARD_ARGS;
}
KERNEL(depthwise_backward_input_k5s1, BACKWARD_PARAMS) {
    depthwise_strip_backward_input<Element, WIDE, 5, 4> BACKWARD_ARGS;
}

// Any window, one thread per output pixel.
template <int N>
__device__ inline void depthwise_forward(const Element* x, const float* w, const float* scale, const float* shift,
                                         Element* y, const Windowed& s, int kind) {
    u32 i = element() * N, c = s.c;
    if (i >= (u32)s.n * s.oh * s.ow * c) return;
    u32 channel = i % c;
    Pixel o = pixel_at(i / c, s.oh, s.ow);
    float sums[N] = {}, v[N], factor[N];
    for (int ky = 0; ky < s.kh; ky++) {
        int iy = o.y * s.stride - s.pad_y + ky;
        if (iy < 0 || iy >= s.h) continue;
        for (int kx = 0; kx < s.kw; kx++) {
            int ix = o.x * s.stride - s.pad_x + kx;
            if (ix < 0 || ix >= s.w) continue;
            load<N>(x + offset(o.n, iy, ix, s.h, s.w, c) + channel, v);
            load<N>(w + (ky * s.kw + kx) * c + channel, factor);
            for (int j = 0; j < N; j++) sums[j] += v[j] * factor[j];
        }
    }
    for (int j = 0; j < N; j++) factor[j] = 1.0f, v[j] = 0.0f;
    if (scale) load<N>(scale + channel, factor);
    if (shift) load<N>(shift + channel, v);
    for (int j = 0; j < N; j++) sums[j] = activate(kind, sums[j] * factor[j] + v[j]);
    store<N>(y + i, sums);
}
KERNEL(depthwise_forward_wide, FORWARD_PARAMS) {
    depthwise_forward<WIDE> FORWARD_ARGS;
}
KERNEL(depthwise_forward_single, FORWARD_PARAMS) {
    depthwise_forward<1> FORWARD_ARGS;
}

template <int N>
__device__ inline void depthwise_backward_input(const Element* dy, const float* w, Element* dx, const Windowed& s, int add) {
    u32 i = element() * N, c = s.c;
    if (i >= (u32)s.n * s.h * s.w * c) return;
    u32 channel = i % c;
    Pixel p = pixel_at(i / c, s.h, s.w);
    float sums[N] = {};
    for (int ky = 0; ky < s.kh; ky++) {
        int ty = p.y + s.pad_y - ky;
        if (ty < 0 || ty % s.stride || ty / s.stride >= s.oh) continue;
        for (int kx = 0; kx < s.kw; kx++) {
            int tx = p.x + s.pad_x - kx;
            if (tx < 0 || tx % s.stride || tx / s.stride >= s.ow) continue;
            float g[N], weights[N];
            load<N>(dy + offset(p.n, ty / s.stride, tx / s.stride, s.oh, s.ow, c) + channel, g);
            load<N>(w + (ky * s.kw + kx) * c + channel, weights);
            for (int j = 0; j < N; j++) sums[j] += g[j] * weights[j];
        }
    }
    put<N>(dx + i, sums, add);
}
KERNEL(depthwise_backward_input_wide, BACKWARD_PARAMS) {
    depthwise_backward_input<WIDE> BACKWARD_ARGS;
}
KERNEL(depthwise_backward_input_single, BACKWARD_PARAMS) {
    depthwise_backward_input<1> BACKWARD_ARGS;
}

// The weights' gradient. A thread has two channels and all taps, and traverses rows of outputs with the window's inputs
// in registers: a step to the right loads only the new columns of them.
template <int K, int STRIDE> struct Walk {
    float window[K][K][2];
    float sums[K][K][2] = {};

    // Sets column `to` of the window to the input's column `ix`; zero outside.
    __device__ void load_column(int to, const Element* x, const Windowed& s, int n, int y, int ix, u32 channel) {
#pragma unroll
        for (int ky = 0; ky < K; ky++) {
            int iy = y + ky;
            bool inside = iy >= 0 && iy < s.h && ix >= 0 && ix < s.w;
            window[ky][to][0] = window[ky][to][1] = 0.0f;
            if (inside) load<2>(x + offset(n, iy, ix, s.h, s.w, s.c) + channel, window[ky][to]);
        }
    }

    // A step to the right: the remaining columns of the window are shifted; the last ones are loaded afterwards.
    __device__ void shift() {
#pragma unroll
        for (int ky = 0; ky < K; ky++)
#pragma unroll
            for (int kx = 0; kx < K - STRIDE; kx++)
                for (int j = 0; j < 2; j++) window[ky][kx][j] = window[ky][kx + STRIDE][j];
    }

    __device__ void row(const Element* x, const Element* dy, const Windowed& s, int n, int oy, u32 channel) {
        const int y = oy * STRIDE - s.pad_y;
#pragma unroll
        for (int kx = 0; kx < K; kx++) load_column(kx, x, s, n, y, kx - s.pad_x, channel);
        const Element* gradients = dy + offset(n, oy, 0, s.oh, s.ow, s.c) + channel;
        for (int ox = 0; ox < s.ow; ox++) {
            float g[2];
            load<2>(gradients + (u32)ox * s.c, g);
#pragma unroll
            for (int ky = 0; ky < K; ky++)
#pragma unroll
                for (int kx = 0; kx < K; kx++)
                    for (int j = 0; j < 2; j++) sums[ky][kx][j] += window[ky][kx][j] * g[j];
            shift();
#pragma unroll
            for (int kx = K - STRIDE; kx < K; kx++)
                load_column(kx, x, s, n, y, (ox + 1) * STRIDE - s.pad_x + kx, channel);
        }
    }
};

// Partial sums [chunk][kh][kw][c]; rows are rows of outputs.
template <int K, int STRIDE>
__device__ inline void depthwise_walk(const Element* x, const Element* dy, float* partials, const Windowed& s,
                                      u32 rows_per_chunk, float* shared) {
    const u32 channel = first_channel<2>(), c = s.c;
    Walk<K, STRIDE> walk;
    if (channel < c) {
        const Rows rows = chunk_rows((u32)s.n * s.oh, rows_per_chunk);
        for (u32 row = rows.begin + threadIdx.y; row < rows.end; row += blockDim.y)
            walk.row(x, dy, s, row / (u32)s.oh, row % (u32)s.oh, channel);
    }
#pragma unroll
    for (int ky = 0; ky < K; ky++) {
        add_columns<K, 2>(walk.sums[ky], c, shared, [&](u32 channel, const float (&sums)[K]) {
            for (int kx = 0; kx < K; kx++) *partial_at(partials, K * K, ky * K + kx, c, channel) = sums[kx];
        });
        __syncthreads();
    }
}

#define WEIGHT_PARAMS                                                                   \
    (const Element* x, const Element* dy, float* partials, const __grid_constant__ Windowed s, u32 rows_per_chunk)
#define WALK_KERNEL(K, STRIDE)                                                          \
    KERNEL(depthwise_backward_weight_k##K##s##STRIDE, WEIGHT_PARAMS) {                  \
        __shared__ float shared[COLUMNS_SHARED(K, 2)];                                 \
        depthwise_walk<K, STRIDE>(x, dy, partials, s, rows_per_chunk, shared);          \
    }
WALK_KERNEL(3, 1)
WALK_KERNEL(5, 1)
WALK_KERNEL(3, 2)
WALK_KERNEL(5, 2)

// Any window: a segment of the grid is one tap, rows are output pixels.
struct TapTerm {
    const Element *x, *dy;
    const Windowed& s;
    int ky, kx;
    __device__ void operator()(u32 row, u32 channel, float (&sums)[1][1]) const {
        Pixel o = pixel_at(row, s.oh, s.ow);
        int iy = o.y * s.stride - s.pad_y + ky, ix = o.x * s.stride - s.pad_x + kx;
        if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) return;
        sums[0][0] += value_at(x + offset(o.n, iy, ix, s.h, s.w, s.c) + channel) *
                      value_at(dy + row * (u32)s.c + channel);
    }
};

KERNEL(depthwise_backward_weight, WEIGHT_PARAMS) {
    __shared__ float shared[COLUMNS_SHARED(1, 1)];
    TapTerm term = {x, dy, s, (int)(blockIdx.z / s.kw), (int)(blockIdx.z % s.kw)};
    const u32 rows = (u32)s.n * s.oh * s.ow;
    column_sums<1, 1>(term, chunk_rows(rows, rows_per_chunk), s.c, shared, [&](u32 channel, const float (&sums)[1]) {
        *partial_at(partials, 1, 0, s.c, channel) = sums[0];
    });
}
