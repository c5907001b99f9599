// Dense convolution with 3x3 windows and stride 1 to at most FEW_MOST channels: class maps. The matrix is too narrow
// for a tiled product: a thread computes a strip of pixels with all output channels, or with some input channels.
// Weights [3, 3, c, few], y and dy are f32, as maps are in every precision.

#define FEW_MOST 4
#define FEW_CHANNELS 64  // largest number of input channels
#define FEW_REACH 4      // pixels per strip

// Copies the weights to shared memory.
__device__ inline void load_few_weights(const float* w, int len, float* shared) {
    for (int i = threadIdx.x; i < len; i += THREADS) shared[i] = w[i];
    __syncthreads();
}

// y = conv(x) + bias; one thread per strip of pixels. Activations and norms are not supported.
template <int FEW>
__device__ inline void conv_few_forward(const Element* x, const float* w, const float* bias, float* y, const Windowed& s,
                                        float* shared) {
    const u32 c = s.c;
    load_few_weights(w, 9 * s.c * FEW, shared);
    const Strip strip = strip_at<1, FEW_REACH>(element(), s.n, s.oh, s.ow, 1);
    if (!strip.inside) return;
    const Pixel o = strip.first;
    float sums[FEW_REACH][FEW] = {};
    for (int ky = 0; ky < 3; ky++) {
        const int iy = o.y - s.pad_y + ky;
        if (iy < 0 || iy >= s.h) continue;
        for (int i = 0; i < FEW_REACH + 2; i++) {
            const int ix = o.x - s.pad_x + i;
            if (ix < 0 || ix >= s.w) continue;
            const Element* pixel = x + offset(o.n, iy, ix, s.h, s.w, c);
            for (u32 k = 0; k < c; k += WIDE) {
                float v[WIDE];
                load<WIDE>(pixel + k, v);
#pragma unroll
                for (int r = 0; r < FEW_REACH; r++) {
                    const int kx = i - r;
                    if (kx < 0 || kx > 2) continue;
                    const float* weights = shared + ((ky * 3 + kx) * c + k) * FEW;
#pragma unroll
                    for (int j = 0; j < WIDE; j++)
#pragma unroll
                        for (int f = 0; f < FEW; f++) sums[r][f] += v[j] * weights[j * FEW + f];
                }
            }
        }
    }
#pragma unroll
    for (int r = 0; r < FEW_REACH; r++) {
        if (o.x + r >= s.ow) break;
        float* to = y + offset(o.n, o.y, o.x + r, s.oh, s.ow, FEW);
        for (int f = 0; f < FEW; f++) to[f] = bias ? sums[r][f] + bias[f] : sums[r][f];
    }
}

// dx (+)= the gradient with respect to x; one thread per strip of pixels and WIDE channels.
template <int FEW>
__device__ inline void conv_few_backward_input(const float* dy, const float* w, Element* dx, const Windowed& s, int add,
                                               float* shared) {
    const u32 c = s.c;
    load_few_weights(w, 9 * s.c * FEW, shared);
    const Strip strip = strip_at<WIDE, FEW_REACH>(element(), s.n, s.h, s.w, c);
    if (!strip.inside) return;
    const Pixel p = strip.first;
    float sums[FEW_REACH][WIDE] = {};
    for (int ky = 0; ky < 3; ky++) {
        const int oy = p.y + s.pad_y - ky;
        if (oy < 0 || oy >= s.oh) continue;
        for (int i = 0; i < FEW_REACH + 2; i++) {
            const int ox = p.x + s.pad_x - 2 + i;
            if (ox < 0 || ox >= s.ow) continue;
            float g[FEW];
            const float* pixel = dy + offset(p.n, oy, ox, s.oh, s.ow, FEW);
            for (int f = 0; f < FEW; f++) g[f] = pixel[f];
#pragma unroll
            for (int r = 0; r < FEW_REACH; r++) {
                const int kx = r - i + 2;
                if (kx < 0 || kx > 2) continue;
                const float* weights = shared + ((ky * 3 + kx) * c + strip.channel) * FEW;
#pragma unroll
                for (int j = 0; j < WIDE; j++)
#pragma unroll
                    for (int f = 0; f < FEW; f++) sums[r][j] += g[f] * weights[j * FEW + f];
            }
        }
    }
#pragma unroll
    for (int r = 0; r < FEW_REACH; r++) {
        if (p.x + r >= s.w) break;
        put<WIDE>(dx + offset(p.n, p.y, p.x + r, s.h, s.w, c) + strip.channel, sums[r], add);
    }
}

// Partial sums [chunk][3][3][c][few] of the weights' gradient; rows are rows of outputs. As `Walk` of the depthwise
// convolution, with several output channels.
template <int FEW>
__device__ inline void conv_few_backward_weight(const Element* x, const float* dy, float* partials, const Windowed& s,
                                                u32 rows_per_chunk, float* shared) {
    const u32 channel = first_channel<2>(), c = s.c;
    float sums[3][3 * FEW][2] = {};
    const Rows rows = chunk_rows((u32)s.n * s.oh, rows_per_chunk);
    if (channel < c) {
        for (u32 row = rows.begin + threadIdx.y; row < rows.end; row += blockDim.y) {
            const int n = row / (u32)s.oh, oy = row % (u32)s.oh, y = oy - s.pad_y;
            Walk<3, 1> walk;
            for (int kx = 0; kx < 2; kx++) walk.load_column(kx, x, s, n, y, kx - s.pad_x, channel);
            const float* gradients = dy + offset(n, oy, 0, s.oh, s.ow, FEW);
            for (int ox = 0; ox < s.ow; ox++) {
                walk.load_column(2, x, s, n, y, ox - s.pad_x + 2, channel);
#pragma unroll
                for (int f = 0; f < FEW; f++) {
                    const float g = gradients[(u32)ox * FEW + f];
#pragma unroll
                    for (int tap = 0; tap < 9; tap++)
                        for (int j = 0; j < 2; j++) sums[tap / 3][tap % 3 * FEW + f][j] += walk.window[tap / 3][tap % 3][j] * g;
                }
                walk.shift();
            }
        }
    }
#pragma unroll
    for (int ky = 0; ky < 3; ky++) {
        add_columns<3 * FEW, 2>(sums[ky], c, shared, [&](u32 channel, const float (&sums)[3 * FEW]) {
            for (int kx = 0; kx < 3; kx++)
                for (int f = 0; f < FEW; f++)
                    partials[(((u64)blockIdx.y * 9 + ky * 3 + kx) * c + channel) * FEW + f] = sums[kx * FEW + f];
        });
        __syncthreads();
    }
}

#define FEW_KERNELS(FEW)                                                                                                  \
    KERNEL(conv_few_forward_##FEW, (const Element* x, const float* w, const float* bias, float* y,                        \
                                            const __grid_constant__ Windowed s)) {                                        \
        __shared__ float shared[9 * FEW_CHANNELS * FEW];                                                                  \
        conv_few_forward<FEW>(x, w, bias, y, s, shared);                                                                  \
    }                                                                                                                     \
    KERNEL(conv_few_backward_input_##FEW,                                                                                 \
           (const float* dy, const float* w, Element* dx, const __grid_constant__ Windowed s, int add)) {                 \
        __shared__ float shared[9 * FEW_CHANNELS * FEW];                                                                  \
        conv_few_backward_input<FEW>(dy, w, dx, s, add, shared);                                                          \
    }                                                                                                                     \
    KERNEL(conv_few_backward_weight_##FEW, (const Element* x, const float* dy, float* partials,                           \
                                                    const __grid_constant__ Windowed s, u32 rows_per_chunk)) {            \
        __shared__ float shared[COLUMNS_SHARED(3 * FEW, 2)];                                                              \
        conv_few_backward_weight<FEW>(x, dy, partials, s, rows_per_chunk, shared);                                        \
    }
FEW_KERNELS(1)
FEW_KERNELS(2)
FEW_KERNELS(3)
FEW_KERNELS(4)
